// The provider's side of the protocol, the same for every resource: validate, plan, apply, read, import, upgrade, stop.
import { IsthmusError, messageOf } from '@isthmus/model';
import type { terraform } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { type Attributes, type AttributeType, objectOf, toSchema } from './attribute.ts';
import { decodeValue, encodeValue, valueFromJson } from './cty.ts';
import type { Block, DataSourceDefinition, Outcome, Planned, Private, ProviderDefinition, ResourceDefinition } from './definition.ts';
import { errorDiagnostic, problemDiagnostics, toAttributePath, warning } from './diagnostic.ts';
import { plannedState, replacedBy, settled } from './plan.ts';
import { type OperationName, timeoutMsOf, timeoutProblems, TIMEOUTS } from './timeouts.ts';
import { hasUnknown, isObject, type Value, type ValueObject } from './value.ts';

type Diagnostics = terraform.Diagnostic[];
/** The calls of the protocol: request in, answer out; what goes wrong is in the answer's diagnostics. */
export type Engine = { readonly [M in keyof Calls]: Calls[M] } & { close(): Promise<void> };
type Call<Req, Res> = (request: Req) => Promise<Res>;
export type Calls = {
  getProviderSchema: Call<terraform.GetProviderSchema_Request, terraform.GetProviderSchema_Response>;
  validateProviderConfig: Call<terraform.ValidateProviderConfig_Request, terraform.ValidateProviderConfig_Response>;
  configureProvider: Call<terraform.ConfigureProvider_Request, terraform.ConfigureProvider_Response>;
  validateResourceConfig: Call<terraform.ValidateResourceConfig_Request, terraform.ValidateResourceConfig_Response>;
  validateDataResourceConfig: Call<terraform.ValidateDataResourceConfig_Request, terraform.ValidateDataResourceConfig_Response>;
  upgradeResourceState: Call<terraform.UpgradeResourceState_Request, terraform.UpgradeResourceState_Response>;
  readResource: Call<terraform.ReadResource_Request, terraform.ReadResource_Response>;
  planResourceChange: Call<terraform.PlanResourceChange_Request, terraform.PlanResourceChange_Response>;
  applyResourceChange: Call<terraform.ApplyResourceChange_Request, terraform.ApplyResourceChange_Response>;
  importResourceState: Call<terraform.ImportResourceState_Request, terraform.ImportResourceState_Response>;
  readDataSource: Call<terraform.ReadDataSource_Request, terraform.ReadDataSource_Response>;
  stopProvider: Call<terraform.StopProvider_Request, terraform.StopProvider_Response>;
};

/** Every resource has its limits beside its own attributes. */
export function resourceAttributes<A>(definition: ResourceDefinition<A>): Attributes {
  return { ...definition.attributes, timeouts: TIMEOUTS };
}

const DATA_SOURCE_TIMEOUT_MS = 30_000;

/** Drives a provider's declarations. */
export function openEngine<A>(provider: ProviderDefinition<A>, clock: Pick<Clock, 'setTimer'>): Engine {
  const stopped = new AbortController();
  let api: A | undefined;
  const resources = new Map(provider.resources.map((r) => [r.typeName, r]));
  const dataSources = new Map(provider.dataSources.map((d) => [d.typeName, d]));
  const typeOf = (definition: ResourceDefinition<A>): AttributeType => objectOf(resourceAttributes(definition));

  const resourceOf = (name: string): ResourceDefinition<A> => resources.get(name) ?? missing(name);
  const dataSourceOf = (name: string): DataSourceDefinition<A> => dataSources.get(name) ?? missing(name);
  const configured = (): A => {
    if (api !== undefined) return api;
    throw fail('TERRAFORM_NOT_CONFIGURED', 'the provider block depends on values that are not known yet', { hint: 'apply what it depends on first, with -target, or in a configuration of its own' });
  };
  /** Runs `work` under the limit and Terraform's interrupt, and says which of both ended it. */
  const within = async <T>(limitMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const late = new AbortController();
    const timer = clock.setTimer(limitMs, () => late.abort(fail('TERRAFORM_TIMEOUT', `it took longer than ${limitMs / 1_000} s`, { hint: 'raise `timeouts`, or see why the admin API does not answer' })));
    const signal = AbortSignal.any([late.signal, stopped.signal]);
    try {
      return await work(signal);
    } finally {
      timer.cancel();
    }
  };

  const plan = async (request: terraform.PlanResourceChange_Request): Promise<terraform.PlanResourceChange_Response> => {
    const definition = resourceOf(request.typeName);
    const type = typeOf(definition);
    const [prior, proposed, config] = [read(type, request.priorState), read(type, request.proposedNewState), read(type, request.config)];
    const answer = (state: ValueObject | null, replaced: readonly string[], diagnostics: Diagnostics): terraform.PlanResourceChange_Response => ({
      plannedState: write(type, state),
      requiresReplace: replaced.flatMap((name) => toAttributePath(type, name) ?? []),
      plannedPrivate: Buffer.from(request.priorPrivate),
      diagnostics,
    });
    if (proposed === null || config === null) return answer(null, [], []);
    const attributes = resourceAttributes(definition);
    const planned = plannedState({ attributes, config, prior, proposed });
    const { state, problems = [], keeps = [] }: Planned = definition.plan?.({ api, config, prior, proposed: planned }) ?? { state: planned };
    return answer(state, replacedBy(attributes, prior, state, keeps), problemDiagnostics(type, problems));
  };

  const apply = async (request: terraform.ApplyResourceChange_Request): Promise<terraform.ApplyResourceChange_Response> => {
    const definition = resourceOf(request.typeName);
    const type = typeOf(definition);
    const [prior, planned] = [read(type, request.priorState), read(type, request.plannedState)];
    const kept = privateOf(request.plannedPrivate);
    const name: OperationName = planned === null ? 'delete' : prior === null ? 'create' : 'update';
    const limitMs = timeoutMsOf(planned ?? prior ?? {}, name);
    let outcome: Outcome;
    try {
      outcome = await within(limitMs, async (signal): Promise<Outcome> => {
        if (planned === null) return prior === null ? { state: null } : definition.remove(configured(), prior, kept, { signal }).then(() => ({ state: null }));
        return prior === null ? definition.create(configured(), planned, { signal }) : definition.update(configured(), planned, prior, kept, { signal });
      });
    } catch (error) {
      // Nothing was done, as far as anybody can know: what was there is there.
      outcome = { state: prior, private: kept, error };
    }
    const diagnostics = outcome.error === undefined ? [] : [errorDiagnostic(`${name} ${request.typeName}`, reasonOf(outcome.error, stopped.signal))];
    return { newState: write(type, outcome.state && settled(resourceAttributes(definition), outcome.state)), private: privateBytes(outcome.private ?? kept), diagnostics: [...diagnostics, ...warningsOf(request.typeName, outcome)] };
  };

  const refresh = async (request: terraform.ReadResource_Request): Promise<terraform.ReadResource_Response> => {
    const definition = resourceOf(request.typeName);
    const type = typeOf(definition);
    const state = read(type, request.currentState);
    if (state === null) return { newState: write(type, null), private: Buffer.alloc(0), diagnostics: [] };
    const kept = privateOf(request.private);
    const outcome = await within(timeoutMsOf(state, 'read'), (signal) => definition.read(configured(), state, kept, { signal }));
    return { newState: write(type, outcome.state && settled(resourceAttributes(definition), outcome.state)), private: privateBytes(outcome.private ?? kept), diagnostics: warningsOf(request.typeName, outcome) };
  };

  const upgrade = (request: terraform.UpgradeResourceState_Request): terraform.UpgradeResourceState_Response => {
    const definition = resourceOf(request.typeName);
    const own = definition.version ?? 0;
    if (request.version > BigInt(own)) throw fail('TERRAFORM_STATE_NEWER', `the state of this ${request.typeName} has version ${request.version}, this provider knows ${own}`, { hint: 'use the provider that wrote it, or a newer one' });
    const type = typeOf(definition);
    return { upgradedState: write(type, asObject(valueFromJson(type, Buffer.from(request.rawState?.json ?? []).toString('utf8')))), diagnostics: [] };
  };

  return {
    getProviderSchema: async () => ({
      provider: toSchema(provider.attributes, provider.description),
      resourceSchemas: Object.fromEntries(provider.resources.map((r) => [r.typeName, toSchema(resourceAttributes(r), r.description, r.version)])),
      dataSourceSchemas: Object.fromEntries(provider.dataSources.map((d) => [d.typeName, toSchema(d.attributes, d.description)])),
      diagnostics: [],
      serverCapabilities: { planDestroy: false, getProviderSchemaOptional: false },
    }),
    validateProviderConfig: (request) => answered('validate the provider block', () => ({ diagnostics: validated(provider, request.config) }), (diagnostics) => ({ diagnostics })),
    configureProvider: (request) =>
      answered<terraform.ConfigureProvider_Response>('configure the provider', async () => {
        const config = read(objectOf(provider.attributes), request.config) ?? {};
        // What it depends on comes with this very apply; what needs the API before that is told so.
        if (!hasUnknown(config)) api = await provider.configure(config);
        return { diagnostics: [] };
      }, (diagnostics) => ({ diagnostics })),
    validateResourceConfig: (request) =>
      answered<terraform.ValidateResourceConfig_Response>(`validate ${request.typeName}`, () => {
        const definition = resourceOf(request.typeName);
        const type = typeOf(definition);
        const config = read(type, request.config) ?? {};
        return { diagnostics: problemDiagnostics(type, [...definition.validate(config), ...timeoutProblems(config)]) };
      }, (diagnostics) => ({ diagnostics })),
    validateDataResourceConfig: (request) => answered(`validate ${request.typeName}`, () => ({ diagnostics: validated(dataSourceOf(request.typeName), request.config) }), (diagnostics) => ({ diagnostics })),
    upgradeResourceState: (request) => answered<terraform.UpgradeResourceState_Response>(`read the state of ${request.typeName}`, () => upgrade(request), (diagnostics) => ({ upgradedState: undefined, diagnostics })),
    readResource: (request) => answered(`read ${request.typeName}`, () => refresh(request), (diagnostics) => ({ newState: request.currentState, private: Buffer.from(request.private), diagnostics }), stopped.signal),
    planResourceChange: (request) =>
      answered(`plan ${request.typeName}`, () => plan(request), (diagnostics) => ({ plannedState: request.priorState, requiresReplace: [], plannedPrivate: Buffer.from(request.priorPrivate), diagnostics })),
    applyResourceChange: (request) => answered(`apply ${request.typeName}`, () => apply(request), (diagnostics) => ({ newState: request.priorState, private: Buffer.from(request.plannedPrivate), diagnostics }), stopped.signal),
    importResourceState: (request) =>
      answered<terraform.ImportResourceState_Response>(`import ${request.typeName}`, () => {
        const definition = resourceOf(request.typeName);
        const state = settled(resourceAttributes(definition), definition.fromImportId(request.id, configured()));
        return { importedResources: [{ typeName: request.typeName, state: write(typeOf(definition), state), private: Buffer.alloc(0) }], diagnostics: [] };
      }, (diagnostics) => ({ importedResources: [], diagnostics })),
    readDataSource: (request) =>
      answered<terraform.ReadDataSource_Response>(`read the data source ${request.typeName}`, async () => {
        const definition = dataSourceOf(request.typeName);
        const type = objectOf(definition.attributes);
        const config = read(type, request.config) ?? {};
        const outcome = await within(DATA_SOURCE_TIMEOUT_MS, (signal) => definition.read(configured(), config, { signal }));
        return { state: write(type, outcome.state && settled(definition.attributes, outcome.state)), diagnostics: warningsOf(request.typeName, outcome) };
      }, (diagnostics) => ({ state: undefined, diagnostics }), stopped.signal),
    stopProvider: async () => {
      stopped.abort(fail('TERRAFORM_STOPPED', 'Terraform was interrupted'));
      return { Error: '' };
    },
    close: async () => {
      stopped.abort(fail('TERRAFORM_STOPPED', 'the provider ends'));
      if (api !== undefined) await provider.close(api);
    },
  };
}

function missing(name: string): never {
  throw fail('TERRAFORM_VALUE_INVALID', `${JSON.stringify(name)} is none of this provider`);
}

/** A failure as an answer: Terraform shows diagnostics better than broken calls. */
async function answered<Res>(doing: string, work: () => Res | Promise<Res>, refused: (diagnostics: Diagnostics) => Res, stop?: AbortSignal): Promise<Res> {
  try {
    return await work();
  } catch (error) {
    return refused([errorDiagnostic(doing, reasonOf(error, stop))]);
  }
}

/** What an interrupt broke is told as the interrupt, not as the broken connection. */
function reasonOf(error: unknown, stop: AbortSignal | undefined): unknown {
  const isBroken = !(error instanceof IsthmusError) || error.class === 'unavailable' || error.class === 'timeout';
  if (stop?.aborted === true && isBroken) return stop.reason;
  return error instanceof Error ? error : new Error(messageOf(error));
}

function validated(block: Pick<Block, 'attributes'> & { validate(config: ValueObject): Parameters<typeof problemDiagnostics>[1] }, config: terraform.DynamicValue | undefined): Diagnostics {
  const type = objectOf(block.attributes);
  return problemDiagnostics(type, block.validate(read(type, config) ?? {}));
}

function warningsOf(typeName: string, { warnings = [] }: Outcome): Diagnostics {
  return warnings.map((text) => warning(typeName, text));
}

function read(type: AttributeType, value: terraform.DynamicValue | undefined): ValueObject | null {
  if (value === undefined) return null;
  if (value.msgpack.byteLength > 0) return asObject(decodeValue(type, value.msgpack));
  return value.json.byteLength > 0 ? asObject(valueFromJson(type, Buffer.from(value.json).toString('utf8'))) : null;
}

function write(type: AttributeType, value: ValueObject | null): terraform.DynamicValue {
  return { msgpack: Buffer.from(encodeValue(type, value)), json: Buffer.alloc(0) };
}

function asObject(value: Value): ValueObject | null {
  return isObject(value) ? value : null;
}

/** What it kept beside the state; of what is not its own it knows nothing. */
function privateOf(bytes: Uint8Array): Private {
  if (bytes.byteLength === 0) return {};
  try {
    const kept = JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown;
    if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) return {};
    return Object.fromEntries(Object.entries(kept).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return {};
  }
}

function privateBytes(kept: Private): Buffer {
  return Buffer.from(JSON.stringify(kept));
}
