// What each route does: this cluster's through its control plane, another cluster's through that cluster's own admin API.
import { fail, openApiDocument } from '@isthmus/api';
import { type Clock, programVersion } from '@isthmus/runtime';
import type { Audit } from './audit.ts';
import { type Grant, grantsOf } from './auth/grants.ts';
import type { Config } from './config.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Forward } from './forward.ts';
import { bundleDocument, foreignBundleState, importForeignBundle } from './routes/bundle.ts';
import { federationStatus, mirroredExports } from './routes/federation.ts';
import { createBan, deleteBan } from './routes/ban.ts';
import { cursorOf, getOne, listKind, pageLimit } from './routes/read.ts';
import { TRUST_WORK } from './routes/trust.ts';
import { watchKind, type Watches } from './routes/watch.ts';
import { createToken, put, readmit, remove } from './routes/write.ts';
import type { Answered, Handler, Work } from './server.ts';
import type { TrustRoot } from './trust-root.ts';

export type HandleParts = {
  readonly config: Config;
  readonly grants: readonly Grant[];
  readonly controlPlane: ControlPlane;
  readonly forward: Forward;
  readonly trustRoot: TrustRoot;
  readonly audit: Audit;
  readonly clock: Clock;
};

/** The work of every route. */
export function makeHandler(parts: HandleParts): Handler {
  const { config, controlPlane, forward, clock } = parts;
  const watches: Watches = { open: 0, limit: config.limits?.watches ?? 128 };
  const document = openApiDocument();
  return async (work) => {
    const { cluster } = work.params;
    const isWatch = work.query['watch'] === 'true';
    if (cluster !== undefined && cluster !== config.cluster) {
      // A forwarded request is never forwarded on: two clusters that disagree must not send it in a circle.
      if (work.caller.forwardedBy !== undefined) throw fail('API_FORWARD_REFUSED', `this is ${config.cluster}, not ${cluster}`);
      if (work.route.id === 'listExports' && !isWatch) return mirroredExports(controlPlane, cluster, work);
      return forward.request(cluster, work);
    }
    const { resource, verb } = work.route;
    if (resource === undefined) return single(parts, document, work);
    if (verb === 'list') return isWatch ? watchKind(controlPlane, resource.kind, work, watches, clock) : listKind(controlPlane, resource.kind, work, config.cluster);
    if (verb === 'get') return getOne(controlPlane, resource.kind, work);
    if (verb === 'put') return put(controlPlane, work);
    return verb === 'create' ? createToken(controlPlane, work) : remove(controlPlane, work);
  };
}

async function single(parts: HandleParts, document: object, work: Work): Promise<Answered> {
  const { config, controlPlane, trustRoot } = parts;
  const trustWork = TRUST_WORK[work.route.id];
  if (trustWork !== undefined) return trustWork(trustRoot, work);
  switch (work.route.id) {
    case 'getOpenApi':
      return { status: 200, value: document };
    case 'getWhoAmI':
      return { status: 200, value: { caller: work.caller.id, cluster: config.cluster, version: programVersion(), grants: grantsOf(parts.grants, work.caller).map(({ who: _who, ...grant }) => grant) } };
    case 'listClusters':
      return listKind(controlPlane, 'member', work, config.cluster);
    case 'getFederationStatus':
      return { status: 200, value: await federationStatus(parts, work) };
    case 'getStatus':
      return { status: 200, value: await controlPlane.status() };
    case 'readmitAgent':
      return readmit(controlPlane, work);
    case 'createBan':
      return createBan(controlPlane, config, work);
    case 'deleteBan':
      return deleteBan(controlPlane, work);
    case 'getForeignBundle':
      return foreignBundleState(controlPlane, work);
    case 'putForeignBundle':
      return importForeignBundle(controlPlane, work);
    case 'getBundleDocument':
      return bundleDocument(controlPlane, work);
    case 'listAudit':
      return listAudit(parts, work);
    default:
      throw new TypeError(`no work is known for ${work.route.id}`);
  }
}

async function listAudit({ audit, config }: HandleParts, work: Work): Promise<Answered> {
  const cursor = cursorOf(work);
  const { entries, next } = await audit.read({ limit: pageLimit(work), ...(/^\d{1,15}$/.test(cursor) && { before: Number(cursor) }) });
  const items = entries.map((entry) => ({ key: String(entry.sequence), etag: `"${entry.sequence}"`, document: entry }));
  return { status: 200, value: { cluster: config.cluster, items, ...(next !== undefined && { next: Buffer.from(String(next)).toString('base64url') }) } };
}
