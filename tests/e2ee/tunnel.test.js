// Rule 24: who may speak of a tunnel to whom. What the descriptions say is none of this part's business.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Conversation } from '../../web/e2ee/conversation.js';
import { Member, World } from './world.js';

async function pair(ofAna, ofBen) {
  const world = await World.open();
  const members = [];
  for (const [name, tunnel] of [['Ana', ofAna], ['Ben', ofBen]]) {
    const member = await Member.make(world, name, world.links.invite, { tunnel });
    await world.connect(member);
    members.push(member);
  }
  await world.pass(1_000);
  return [world, ...members];
}

test('rule 24: a tunnel is spoken of only where both say that they can have one', async () => {
  for (const [ofAna, ofBen] of [[true, true], [true, false], [false, true], [false, false]]) {
    const [world, ana, ben] = await pair(ofAna, ofBen);
    assert.equal(ana.last('roster').participants[0].tunnel, ofBen);
    assert.equal(ben.last('roster').participants[0].tunnel, ofAna);
    assert.equal(await ana.core.tunnel(ben.id, 'v=0'), ofAna && ofBen);
    await world.quiet();
    assert.equal(ben.all('tunnel').length, ofAna && ofBen ? 1 : 0);
  }
});

test('rule 24: a description is refused by who has the tunnel off, though the sender goes ahead', async () => {
  const { sendTunnel } = Conversation.prototype;
  const [world, ana, ben] = await pair(true, false);
  // Ben says in its `ready` that it cannot, and sends one all the same
  let conversation;
  Conversation.prototype.broadcast = new Proxy(Conversation.prototype.broadcast, {
    apply(target, self, args) {
      if (args[1]?.text === 'catch') conversation = self;
      return Reflect.apply(target, self, args);
    },
  });
  let peer;
  Conversation.prototype.sendTunnelOver = new Proxy(Conversation.prototype.sendTunnelOver, {
    apply(target, self, args) {
      [peer] = args;
      return Reflect.apply(target, self, args);
    },
  });
  await ben.core.send('chat', { id: 'm', text: 'catch' });
  await ben.core.tunnelOver(ana.id, 'tunnel');
  await sendTunnel.call(conversation, peer, 'v=0');
  await world.quiet();
  assert.equal(ana.all('tunnel-over').length, 1);
  assert.deepEqual([ana.last('tunnel'), ana.core.counters.tunnel], [undefined, 1]);
});

test('rule 24: over is said to anybody on the roster, and names one of two paths', async () => {
  const [world, ana, ben] = await pair(true, true);
  const cy = await world.join('Cy');
  assert.equal(await ana.core.tunnelOver(ben.id, 'tunnel'), true);
  assert.equal(await ana.core.tunnelOver(cy.id, 'forwarded'), true);
  assert.equal(await ana.core.tunnelOver(ben.id, 'elsewhere'), false);
  assert.equal(await ana.core.tunnelOver('nobody', 'tunnel'), false);
  await world.quiet();
  assert.deepEqual(ben.all('tunnel-over').map(({ participant, path }) => [participant, path]), [[ana.id, 'tunnel']]);
  assert.deepEqual(cy.all('tunnel-over').map(({ participant, path }) => [participant, path]), [[ana.id, 'forwarded']]);
});
