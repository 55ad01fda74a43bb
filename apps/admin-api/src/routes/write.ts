// Writing this cluster: everything goes to its control plane, which alone writes the store.
import { fail, type JoinTokenBody } from '@isthmus/api';
import { isDnsLabel } from '@isthmus/model';
import type { ControlPlane, WriteOptions } from '../control-plane.ts';
import { invalid } from '../request.ts';
import type { Answered, Work } from '../server.ts';

/** Creates or replaces; the body must name what the path names. */
export async function put(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const body = work.body as Readonly<Record<string, unknown>>;
  const problems = Object.keys(work.route.resource?.keyParams ?? {}).flatMap((field) => (body[field] === work.params[field] ? [] : [{ path: field, message: `must be ${JSON.stringify(work.params[field])}, as in the path` }]));
  if (problems.length > 0) throw invalid(problems);
  const options = writeOptions(work);
  const done = await controlPlane.apply(body, options);
  const etag = done.revision > 0n ? { etag: `"${done.revision}"` } : {};
  return {
    status: done.created && !options.dryRun ? 201 : 200,
    value: { changed: done.changed, created: done.created, dryRun: options.dryRun, document: body },
    headers: { ...etag, ...replay(done) },
  };
}

export async function remove(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const kind = work.route.resource?.kind ?? '';
  const { namespace = '', id = '', role = '', agent = '', trustDomain = '' } = work.params;
  const name = work.params['name'] ?? trustDomain;
  const options = writeOptions(work);
  const isEntry = kind === 'entry';
  const done = await controlPlane.delete(isEntry ? role : kind, kind === 'drain' ? role : namespace, isEntry ? agent : kind === 'join-token' ? id : name, options);
  if (!done.existed) throw fail('API_NOT_FOUND', `there is no ${kind} ${isEntry ? `${role}/${agent}` : kind === 'drain' ? `${role}/${name}` : id !== '' ? id : namespace === '' ? name : `${namespace}/${name}`}`);
  return { status: 200, value: { deleted: !options.dryRun, dryRun: options.dryRun }, headers: replay(done) };
}

/** The secret is in this one answer and nowhere else: a repeated request gets the rest of it. */
export async function createToken(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const { agent, role, services = [], ttlSeconds = 0 } = work.body as JoinTokenBody;
  if (!isDnsLabel(agent)) throw invalid([{ path: 'agent', message: 'must be a DNS label' }]);
  const options = writeOptions(work);
  const made = await controlPlane.createJoinToken({ agent, role, services, ttlSeconds }, options);
  if (options.dryRun) return { status: 200, value: { dryRun: true } };
  return { status: 201, value: { id: made.id, expiresAtMs: Number(made.expiresAtMs), ...(made.token !== '' && { token: made.token }) }, headers: replay(made) };
}

/** Lets an agent attest again. **Throws** API_NOT_FOUND where nothing keeps it from that. */
export async function readmit(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const { agent } = work.body as { readonly agent: string };
  const options = writeOptions(work);
  const done = await controlPlane.readmit(agent, options);
  if (!done.existed) throw fail('API_NOT_FOUND', `nothing keeps ${agent} from attesting`, { hint: 'entries say who was removed' });
  return { status: 200, value: { agent, readmitted: !options.dryRun, ...(options.dryRun && { dryRun: true }) }, headers: replay(done) };
}

/** The header that tells a repeated write from the first. */
export function replay(done: { readonly replayed: boolean }): Record<string, string> {
  return done.replayed ? { 'idempotent-replayed': 'true' } : {};
}

/** How the caller wants its write done. */
export function writeOptions(work: Work): WriteOptions {
  const ifMatch = work.headers['if-match'];
  const key = work.headers['idempotency-key'];
  // `*` asks that there is something to match, which a delete asks anyway; of a put it cannot be said by one revision.
  const revision = /^"([0-9]{1,19})"$/.exec(ifMatch ?? '')?.[1];
  return {
    ifRevision: work.headers['if-none-match'] === '*' ? 0n : revision === undefined ? undefined : BigInt(revision),
    dryRun: work.query['dryRun'] === 'true',
    idempotencyKey: typeof key === 'string' ? key : '',
    caller: work.caller.id,
  };
}
