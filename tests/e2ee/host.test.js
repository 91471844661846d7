import assert from 'node:assert/strict';
import test from 'node:test';
import { World, film, point } from './world.js';

test('rule 9: a removed member decrypts nothing two seconds later; the code changes and says who was removed', async () => {
  const world = await World.open();
  const ana = await world.join('Ana', world.links.host);
  const [ben, cy] = [await world.join('Ben'), await world.join('Cy')];
  const slot = point(cy, ben);
  assert.ok(await film(ben, slot));
  const code = ben.last('code').code;
  await ana.core.moderation.remove(cy.id);
  await world.pass(2_000);
  assert.equal(await film(ben, slot), null);
  assert.equal(await film(ana, point(cy, ana)), null);
  assert.deepEqual([ana.names, ben.names], [['Ben'], ['Ana']]);
  for (const member of [ana, ben]) {
    const last = member.last('code');
    assert.notEqual(last.code, code);
    assert.deepEqual([last.left, last.removed], [[], ['Cy']]);
  }
  assert.ok(cy.last('removed'));
});
