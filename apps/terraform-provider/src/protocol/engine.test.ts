import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fail } from '../errors.ts';
import { fakeClock } from '@isthmus/runtime/testing';
import { type Attributes, objectOf, STRING } from './attribute.ts';
import { decodeValue, encodeValue } from './cty.ts';
import type { ProviderDefinition, ResourceDefinition } from './definition.ts';
import { openEngine, resourceAttributes } from './engine.ts';
import { UNKNOWN, type Value, type ValueObject } from './value.ts';

const attributes: Attributes = {
  id: { type: STRING, mode: 'computed', description: '' },
  name: { type: STRING, mode: 'required', description: '', replaces: true },
  note: { type: STRING, mode: 'optional', description: '' },
};

type Thing = ResourceDefinition<string>;
const thing = (over: Partial<Thing> = {}): Thing => ({
  typeName: 'x_thing',
  description: '',
  example: '',
  importId: 'name',
  attributes,
  validate: () => [],
  create: async (_api, planned) => ({ state: { ...planned, id: 'made' }, private: { etag: '1' } }),
  read: async (_api, state) => ({ state }),
  update: async (_api, planned) => ({ state: planned }),
  remove: async () => undefined,
  fromImportId: (id) => ({ name: id }),
  ...over,
});

const provider = (resource: Thing): ProviderDefinition<string> => ({
  description: '',
  example: '',
  attributes: { endpoint: { type: STRING, mode: 'optional', description: '' } },
  validate: () => [],
  configure: async () => 'api',
  close: async () => undefined,
  resources: [resource],
  dataSources: [],
});

const TYPE = objectOf(resourceAttributes(thing()));
const value = (v: Value) => ({ msgpack: Buffer.from(encodeValue(TYPE, v)), json: Buffer.alloc(0) });
const valueOf = (v: { readonly msgpack: Uint8Array } | undefined): Value => decodeValue(TYPE, v?.msgpack ?? new Uint8Array());
const NULL = value(null);
const wanted: ValueObject = { id: null, name: 'a', note: null, timeouts: null };

async function opened(over: Partial<Thing> = {}, endpoint: Value = 'known') {
  const clock = fakeClock();
  const engine = openEngine(provider(thing(over)), clock);
  const type = objectOf({ endpoint: attributes['note'] as never });
  await engine.configureProvider({ terraformVersion: '1', config: { msgpack: Buffer.from(encodeValue(type, { endpoint })), json: Buffer.alloc(0) } });
  const apply = (prior: Value, planned: Value, plannedPrivate: Buffer = Buffer.alloc(0)) =>
    engine.applyResourceChange({ typeName: 'x_thing', priorState: value(prior), plannedState: value(planned), config: value(planned), plannedPrivate });
  return { engine, clock, apply };
}

test('a provider that depends on what is not made yet plans all the same, and says why it cannot read', async () => {
  const { engine } = await opened({}, UNKNOWN);
  const plan = await engine.planResourceChange({ typeName: 'x_thing', priorState: NULL, proposedNewState: value(wanted), config: value(wanted), priorPrivate: Buffer.alloc(0) });
  assert.deepEqual([plan.diagnostics, (valueOf(plan.plannedState) as ValueObject)['name']], [[], 'a']);
  const read = await engine.readResource({ typeName: 'x_thing', currentState: value(wanted), private: Buffer.alloc(0) });
  assert.match(read.diagnostics[0]?.detail ?? '', /TERRAFORM_NOT_CONFIGURED/);
  assert.deepEqual(valueOf(read.newState), wanted, 'what is in the state stays');
});

test('what was kept beside the state goes from apply to plan to apply', async () => {
  const seen: unknown[] = [];
  const { engine, apply } = await opened({ update: async (_api, planned, _prior, kept) => (seen.push(kept), { state: planned, private: { etag: '2' } }) });
  const created = await apply(null, { ...wanted, id: UNKNOWN });
  assert.deepEqual(valueOf(created.newState), { ...wanted, id: 'made' });
  const prior = valueOf(created.newState) as ValueObject;
  const plan = await engine.planResourceChange({ typeName: 'x_thing', priorState: value(prior), proposedNewState: value({ ...prior, note: 'b' }), config: value({ ...wanted, note: 'b' }), priorPrivate: created.private });
  const updated = await apply(prior, valueOf(plan.plannedState), Buffer.from(plan.plannedPrivate));
  assert.deepEqual([seen, JSON.parse(updated.private.toString())], [[{ etag: '1' }], { etag: '2' }]);
});

test('a failed change leaves the state it had, a failed creation none, and a part of one that part', async () => {
  const refuse = async (): Promise<never> => {
    throw fail('TERRAFORM_CHANGED', 'theirs');
  };
  const { apply } = await opened({ create: refuse, update: refuse, remove: refuse });
  const prior = { ...wanted, id: '1' };
  for (const [from, to, left] of [[null, wanted, null], [prior, { ...prior, note: 'b' }, prior], [prior, null, prior]] as const) {
    const answer = await apply(from, to);
    assert.deepEqual(valueOf(answer.newState), left);
    assert.match(answer.diagnostics[0]?.detail ?? '', /theirs \(TERRAFORM_CHANGED\)/);
  }
  const half = await opened({ create: async (_api, planned) => ({ state: { ...planned, id: '1', note: UNKNOWN }, error: new Error('half') }) });
  const answer = await half.apply(null, wanted);
  assert.deepEqual([valueOf(answer.newState), answer.diagnostics.length], [{ ...wanted, id: '1' }, 1]);
});

test('an operation ends with its time limit, and with Terraform’s interrupt', async () => {
  const until = (_api: string, _planned: ValueObject, { signal }: { readonly signal: AbortSignal }) => new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const late = await opened({ create: until });
  const limited = late.apply(null, { ...wanted, timeouts: { create: '5s', read: null, update: null, delete: null } });
  await late.clock.advance(5_000);
  assert.match((await limited).diagnostics[0]?.detail ?? '', /longer than 5 s \(TERRAFORM_TIMEOUT\)/);
  const stopped = await opened({ create: until });
  const interrupted = stopped.apply(null, wanted);
  await stopped.clock.advance(1);
  await stopped.engine.stopProvider({});
  assert.match((await interrupted).diagnostics[0]?.detail ?? '', /TERRAFORM_STOPPED/);
  assert.equal(stopped.clock.pending(), 0, 'no timer is left');
});

test('a change of what cannot be changed is told by its path, and destroying plans nothing', async () => {
  const { engine } = await opened();
  const prior = { ...wanted, id: '1' };
  const request = { typeName: 'x_thing', priorState: value(prior), priorPrivate: Buffer.alloc(0) };
  const plan = await engine.planResourceChange({ ...request, proposedNewState: value({ ...prior, name: 'b' }), config: value({ ...wanted, name: 'b' }) });
  assert.deepEqual(plan.requiresReplace.map((path) => path.steps.map((step) => step.selector?.value)), [['name']]);
  const destroyed = await engine.planResourceChange({ ...request, proposedNewState: NULL, config: NULL });
  assert.equal(valueOf(destroyed.plannedState), null);
});

test('what is imported has its name and nothing else, for Terraform to read', async () => {
  const { engine } = await opened();
  const { importedResources } = await engine.importResourceState({ typeName: 'x_thing', id: 'a' });
  assert.deepEqual(importedResources.map((i) => valueOf(i.state)), [wanted]);
});
