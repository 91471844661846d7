import assert from 'node:assert/strict';
import test from 'node:test';
import { World, film, point } from './world.js';

test('three members see one another, agree on the code and stay silent about trouble', async () => {
  const world = await World.open();
  const ana = await world.join('Ana', world.links.host);
  const ben = await world.join('Ben');
  const cy = await world.join('Cy');
  assert.deepEqual([ana.names, ben.names, cy.names], [['Ben', 'Cy'], ['Ana', 'Cy'], ['Ana', 'Ben']]);
  assert.match(ana.last('code').code, /^\d{5}( \d{5}){5}$/);
  assert.deepEqual([ben.last('code').code, cy.last('code').code], Array(2).fill(ana.last('code').code));
  for (const sender of world.everyone) {
    for (const receiver of world.everyone.filter(each => each !== sender)) {
      assert.ok(await film(sender, point(receiver, sender)), `${sender.label} to ${receiver.label}`);
    }
  }
  await world.pass(60_000);
  for (const member of world.everyone) {
    assert.deepEqual(member.events.filter(({ type }) => type === 'unverified' || type === 'disagreement'), []);
    assert.equal(member.names.length, 2);
  }
});
