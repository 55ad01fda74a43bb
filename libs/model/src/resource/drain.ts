// A drain: an operator's wish that an agent or gateway gets no new work, kept until it is taken back.
import type { Parsed } from '../problem.ts';
import { compileSchema, dnsLabel, schemas, type Static, strict, Type } from '../schema.ts';

/** Which processes can be drained from afar. */
export const proxyRoleSchema = Type.Union([Type.Literal('agent'), Type.Literal('gateway')], { description: 'What it is' });
export type ProxyRole = Static<typeof proxyRoleSchema>;

/** `namespace/service/instance` of a workload beside an agent. */
export const workloadNameSchema = Type.String({ maxLength: 383, pattern: '^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}/[A-Za-z0-9][A-Za-z0-9._-]{0,252}$' });

export const drainSchema = strict({
  kind: Type.Literal('drain'),
  role: proxyRoleSchema,
  name: dnsLabel('Name of the agent or gateway, as it joined'),
  workloads: Type.Optional(Type.Array(workloadNameSchema, { minItems: 1, maxItems: 256, uniqueItems: true, description: '`namespace/service/instance` of the workloads beside an agent that drain; all of them without it' })),
  reason: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'Why, for whoever looks' })),
});
export type Drain = Static<typeof drainSchema>;

const parseShape = compileSchema(drainSchema);

/** Parses a drain; a gateway has no workloads. */
export function parseDrain(input: unknown): Parsed<Drain> {
  const parsed = parseShape(input);
  if (!parsed.ok || parsed.value.role === 'agent' || parsed.value.workloads === undefined) return parsed;
  return { ok: false, problems: [{ path: 'workloads', message: 'a gateway has none; it drains as a whole' }] };
}

/**
 * What a process is asked for: the store's revision of the drain (0: there is none), whether it drains, and of an agent
 * which workloads; none means all.
 */
export type DesiredDrain = { readonly revision: number; readonly draining: boolean; readonly workloads: readonly string[] };

/** Nothing is to be drained. */
export const NO_DRAIN: DesiredDrain = { revision: 0, draining: false, workloads: [] };

export const drainStateSchema = Type.Union([Type.Literal('serving'), Type.Literal('draining'), Type.Literal('drained')], { description: '`draining`: it gets nothing new, and connections are left; `drained`: none is' });
export type DrainState = Static<typeof drainStateSchema>;

/** How far a process is: which wish it acts on, and what is left. `address` is a gateway's, as peers reach it. */
export const drainProgressSchema = Type.Object({
  revision: Type.Integer({ minimum: 0 }),
  state: drainStateSchema,
  connections: Type.Integer({ minimum: 0 }),
  problem: Type.Optional(Type.String({ maxLength: 1_000 })),
  address: Type.Optional(schemas.hostPort),
});
export type DrainProgress = Static<typeof drainProgressSchema>;
export const parseDrainProgress = compileSchema(drainProgressSchema);
