// The pods of this agent's node whose Services ask for it: each becomes a workload whose application is the pod itself.
import { localityOf, openNodeEndpoints, type ServiceEndpoint } from '@isthmus/discovery/kubernetes';
import { formatServiceName, messageOf } from '@isthmus/model';
import { backoff } from '@isthmus/runtime';
import type { Config } from './config.ts';
import type { Parts } from './join.ts';
import type { Workloads } from './workloads.ts';

/** Workloads one agent speaks for at most; a node has some hundred pods. */
const MAX_WORKLOADS = 1_000;
/** After one could not be opened. */
const RETRY_MS = { base: 500, max: 30_000 };

/** What is to be done for what is wanted now: in this order. */
export type Step = { readonly kind: 'withdraw' | 'add' | 'tell'; readonly endpoint: ServiceEndpoint };

/** The steps from what runs to what is wanted. One whose address or ports are others is another workload. Pure. */
export function stepsTo(running: ReadonlyMap<string, ServiceEndpoint>, wanted: readonly ServiceEndpoint[]): readonly Step[] {
  const byKey = new Map(wanted.slice(0, MAX_WORKLOADS).map((endpoint) => [keyOf(endpoint), endpoint]));
  const isOther = (a: ServiceEndpoint, b: ServiceEndpoint | undefined): boolean => b === undefined || contactOf(a) !== contactOf(b);
  return [
    ...[...running].flatMap(([key, endpoint]): Step[] => (isOther(endpoint, byKey.get(key)) ? [{ kind: 'withdraw', endpoint }] : [])),
    ...[...byKey].flatMap(([key, endpoint]): Step[] => {
      const before = running.get(key);
      if (isOther(endpoint, before)) return [{ kind: 'add', endpoint }];
      return before?.health === endpoint.health ? [] : [{ kind: 'tell', endpoint }];
    }),
  ];
}

function keyOf({ service, instance }: ServiceEndpoint): string {
  return `${formatServiceName(service)}/${instance}`;
}

function contactOf({ address, ports, zone }: ServiceEndpoint): string {
  return JSON.stringify([address, Object.entries(ports).sort(), zone]);
}

/** Follows the node's endpoints from now on; never waits for the API server. **Throws** DISCOVERY_KUBERNETES_CONFIG. */
export async function speakForNode(config: Config, kubernetes: NonNullable<Config['kubernetes']>, workloads: Workloads, parts: Parts): Promise<{ close(): Promise<void> }> {
  const { clock, log } = parts;
  const stop = new AbortController();
  const running = new Map<string, ServiceEndpoint>();
  const waits = backoff({ baseMs: RETRY_MS.base, maxMs: RETRY_MS.max, random: parts.random });
  let isDue = false;
  let following: Promise<void> | undefined;

  async function take({ kind, endpoint }: Step): Promise<void> {
    const { service, instance, address, ports, health, zone } = endpoint;
    const key = keyOf(endpoint);
    if (kind === 'withdraw') {
      running.delete(key);
      // Its connections end in their own time; nothing waits for them.
      workloads.withdraw(service, instance).catch((error: unknown) => log.warn('listener of a pod that went not closed', { instance, error: messageOf(error) }));
      return;
    }
    if (kind === 'tell') workloads.tell(service, instance, health);
    else {
      const workload = { kind: 'workload' as const, namespace: service.namespace, service: service.name, instance, host: address, ports };
      await workloads.add({ workload, inbound: {}, locality: localityOf(config.locality, zone) }, health);
    }
    running.set(key, endpoint);
  }

  async function follow(): Promise<void> {
    while (isDue && !stop.signal.aborted) {
      isDue = false;
      const wanted = node.list();
      if (wanted === undefined) return;
      if (wanted.length > MAX_WORKLOADS) log.error('the node has more pods to speak for than one agent may', { count: wanted.length, limit: MAX_WORKLOADS });
      let failed: unknown;
      for (const step of stepsTo(running, wanted)) {
        await take(step).catch((error: unknown) => {
          failed = error;
          log.error('no listener for a pod, will try again', { service: formatServiceName(step.endpoint.service), instance: step.endpoint.instance, error: messageOf(error) });
        });
      }
      if (failed === undefined) waits.reset();
      else {
        isDue = true;
        await clock.sleep(waits.nextMs(), stop.signal).catch(() => undefined);
      }
    }
  }

  const changed = (): void => {
    isDue = true;
    following ??= follow().finally(() => {
      following = undefined;
    });
  };
  const node = await openNodeEndpoints({ ...kubernetes, onChange: changed, ...parts });
  return {
    async close() {
      stop.abort();
      await node.close();
      await following;
    },
  };
}
