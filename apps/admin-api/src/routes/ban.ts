// Bans of agents, gateways and services: what was issued to them is refused in every cluster from then on.
import { fail } from '@isthmus/api';
import { clusterTrustDomain, formatServiceName, parseServiceName, pathOf, roleOf, type SpiffeId, spiffeIds } from '@isthmus/model';
import type { Config } from '../config.ts';
import type { BanSubject, ControlPlane } from '../control-plane.ts';
import { invalid } from '../request.ts';
import type { Answered, Work } from '../server.ts';
import { replay, writeOptions } from './write.ts';

type BanBody = { readonly kind: 'agent' | 'gateway' | 'service'; readonly name: string; readonly namespace?: string; readonly reason?: string };

/** Bans, and answers the ban as it is kept. */
export async function createBan(controlPlane: ControlPlane, config: Pick<Config, 'cluster' | 'federation'>, work: Work): Promise<Answered> {
  const { kind, name, namespace = '', reason = '' } = work.body as BanBody;
  if ((kind === 'service') !== (namespace !== '')) throw invalid([{ path: 'namespace', message: kind === 'service' ? 'is missing' : 'agents and gateways have none' }]);
  const options = writeOptions(work);
  const done = await controlPlane.ban({ kind, namespace, name }, reason, options);
  const trustDomain = clusterTrustDomain(config.cluster, config.federation);
  const spiffeId = kind === 'agent' ? spiffeIds.agent(trustDomain, name) : kind === 'gateway' ? spiffeIds.gatewayHolder(trustDomain, name) : spiffeIds.service(trustDomain, { namespace, name });
  const { items } = await controlPlane.list({ kind: 'ban' });
  const made = items.find(({ document }) => document['spiffeId'] === spiffeId);
  if (options.dryRun) return { status: 200, value: { spiffeId, dryRun: true } };
  return { status: 201, value: made?.document ?? { spiffeId }, headers: replay(done) };
}

/** Lifts a ban by its id. **Throws** API_NOT_FOUND. */
export async function deleteBan(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const id = work.params['ban'] ?? '';
  const found = (await controlPlane.get('ban', id))?.document;
  const options = writeOptions(work);
  const absent = (): Error => fail('API_NOT_FOUND', `no ban ${id} is in force`);
  // A repeated request finds it lifted already, and the control plane remembers who did that.
  if (found === undefined || (found['lifted'] === true && (options.idempotencyKey === '' || options.dryRun))) throw absent();
  const done = await controlPlane.unban(subjectOf(String(found['spiffeId'])), options);
  if (!done.existed) throw absent();
  return { status: 200, value: { deleted: !options.dryRun, dryRun: options.dryRun }, headers: replay(done) };
}

function subjectOf(spiffeId: string): BanSubject {
  const role = roleOf(spiffeId as SpiffeId);
  if (role.kind === 'agent') return { kind: 'agent', namespace: '', name: role.agent };
  const [, gateway] = /^\/gateway\/([a-z0-9-]+)$/.exec(pathOf(spiffeId as SpiffeId)) ?? [];
  if (gateway !== undefined) return { kind: 'gateway', namespace: '', name: gateway };
  const service = role.kind === 'service' ? parseServiceName(formatServiceName(role.service)) : undefined;
  if (service?.ok !== true) throw fail('API_NOT_FOUND', `${spiffeId} is no agent, gateway or service`);
  return { kind: 'service', ...service.value };
}
