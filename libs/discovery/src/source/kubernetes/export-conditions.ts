// What a ServiceExport's status says of it: the conditions of the MCS API, from what this cluster knows. Pure.
import type { ImportedService, Service } from '@isthmus/model';
import type { Declared } from './declare.ts';
import type { Condition, KubeServiceExport } from './objects.ts';

/** All that the conditions of one export depend on. */
export type ExportFacts = {
  readonly exported: KubeServiceExport;
  /** The Service of its name: undefined where there is none. */
  readonly service: Declared<Service> | undefined;
  /** Is that Service one that cannot be exported by its type? */
  readonly isWrongType: boolean;
  /** Its own annotations, read. */
  readonly isReadable: { readonly ok: true } | { readonly ok: false; readonly reason: string };
  /** What other clusters offer under the same name. */
  readonly imports: readonly ImportedService[];
  /** Workloads of it that speak through an agent, and endpoints that Kubernetes has. */
  readonly registeredCount: number;
  readonly endpointCount: number;
};

type Wanted = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/**
 * `Valid`, `Ready` and `Conflict` as the MCS API has them (KEP-1645; reasons of facts.md, "MCS conditions"). `Ready` is
 * false while no workload of it speaks through an agent: it could be announced, and nobody could be reached.
 */
export function conditionsOf(facts: ExportFacts): readonly Wanted[] {
  const valid = validity(facts);
  return [valid, readiness(facts, valid), conflict(facts)];
}

function validity({ service, isWrongType, isReadable }: ExportFacts): Wanted {
  const not = (reason: string, message: string): Wanted => ({ type: 'Valid', status: 'False', reason, message });
  if (!isReadable.ok) return not('Failed', isReadable.reason);
  if (service === undefined) return not('NoService', 'there is no Service of this name in its namespace');
  if (!service.ok) return not(isWrongType ? 'InvalidServiceType' : 'Failed', `the Service ${service.reason}`);
  return { type: 'Valid', status: 'True', reason: 'Valid', message: service.notes.length === 0 ? '' : `left out: ${service.notes.join('; ')}` };
}

function readiness({ registeredCount, endpointCount }: ExportFacts, valid: Wanted): Wanted {
  if (valid.status !== 'True') return { type: 'Ready', status: 'False', reason: 'Failed', message: 'it is not valid' };
  if (registeredCount > 0) return { type: 'Ready', status: 'True', reason: 'Exported', message: '' };
  const message = endpointCount > 0 ? 'its endpoints have no agent that speaks for them: give the pods one, or label the Service isthmus/agent=node' : 'it has no endpoints';
  return { type: 'Ready', status: 'False', reason: 'Pending', message };
}

/** Ports of one name that say different things in different clusters. Endpoints never mix, so nothing else can conflict. */
function conflict({ service, imports }: ExportFacts): Wanted {
  const ports = service?.ok === true ? service.value.ports : [];
  const differing = imports.flatMap((i) =>
    i.ports.flatMap((theirs) => {
      const ours = ports.find((p) => p.name === theirs.name);
      return ours !== undefined && (ours.port !== theirs.port || ours.protocol !== theirs.protocol) ? [`${i.cluster} has port ${theirs.name} as ${theirs.port}/${theirs.protocol}`] : [];
    }),
  );
  if (differing.length === 0) return { type: 'Conflict', status: 'False', reason: 'NoConflicts', message: '' };
  return { type: 'Conflict', status: 'True', reason: 'PortConflict', message: `${differing.slice(0, 5).join('; ')}; clusters without this Service take the ports of the oldest export` };
}

/**
 * The conditions to write, or undefined where what stands there says the same already. A condition whose status did not
 * change keeps its time.
 */
export function conditionsToWrite(exported: KubeServiceExport, wanted: readonly Wanted[], nowMs: number): readonly Condition[] | undefined {
  const now = new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z');
  const written = wanted.map((w): Condition => {
    const before = exported.conditions.find((c) => c.type === w.type);
    const lastTransitionTime = before?.status === w.status ? (before.lastTransitionTime ?? now) : now;
    return { ...w, lastTransitionTime, observedGeneration: exported.generation };
  });
  const isSame = written.every((w) => {
    const before = exported.conditions.find((c) => c.type === w.type);
    return before !== undefined && before.status === w.status && before.reason === w.reason && (before.message ?? '') === (w.message ?? '') && (before.observedGeneration ?? 0) === (w.observedGeneration ?? 0);
  });
  return isSame ? undefined : written;
}
