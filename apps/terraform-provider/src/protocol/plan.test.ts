import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Attributes, STRING } from './attribute.ts';
import { plannedState, replacedBy, settled } from './plan.ts';
import { UNKNOWN, UNKNOWN_NOT_NULL, type ValueObject } from './value.ts';

const attributes: Attributes = {
  id: { type: STRING, mode: 'computed', description: '' },
  hash: { type: STRING, mode: 'computed', description: '', isVolatile: true, isNullable: true },
  name: { type: STRING, mode: 'required', description: '', replaces: true },
  note: { type: STRING, mode: 'optional', description: '' },
  zone: { type: STRING, mode: 'optional-computed', description: '' },
};
const prior: ValueObject = { id: '1', hash: 'h', name: 'a', note: 'x', zone: 'z' };
const config: ValueObject = { id: null, hash: null, name: 'a', note: 'x', zone: null };

test('what is computed is unknown until it was made', () => {
  assert.deepEqual(plannedState({ attributes, config, prior: null, proposed: config }), { id: UNKNOWN_NOT_NULL, hash: UNKNOWN, name: 'a', note: 'x', zone: UNKNOWN_NOT_NULL });
});

test('nothing changed is nothing planned', () => {
  assert.deepEqual(plannedState({ attributes, config, prior, proposed: prior }), prior);
  assert.deepEqual(replacedBy(attributes, prior, prior), []);
});

test('a change makes unknown only what it may change', () => {
  const proposed = { ...prior, note: 'y' };
  assert.deepEqual(plannedState({ attributes, config: { ...config, note: 'y' }, prior, proposed }), { ...proposed, hash: UNKNOWN });
});

test('a change of a name, or one that may be a change, makes a new thing', () => {
  assert.deepEqual(replacedBy(attributes, prior, { ...prior, name: 'b' }), ['name']);
  assert.deepEqual(replacedBy(attributes, prior, { ...prior, name: UNKNOWN }), ['name']);
  assert.deepEqual(replacedBy(attributes, prior, { ...prior, name: 'b' }, ['name']), []);
  assert.deepEqual(replacedBy(attributes, null, { ...prior, name: 'b' }), []);
});

test('a state that is kept holds every attribute and nothing unknown', () => {
  assert.deepEqual(settled(attributes, { id: UNKNOWN, name: 'a' }), { id: null, hash: null, name: 'a', note: null, zone: null });
});
