// The federation's root of trust over the API: the trust root is asked for the person who called, and decides itself.
import type { Answered, Work } from '../server.ts';
import type { Asking, Replayable, RotateBody, TrustRoot } from '../trust-root.ts';
import { replay, writeOptions } from './write.ts';

const LOG_RECORDS = 100;

/** What each route of `/v1/trust` does. */
export const TRUST_WORK: Readonly<Record<string, (trustRoot: TrustRoot, work: Work) => Promise<Answered>>> = {
  getTrust: async (trustRoot, work) => {
    const [rotation, { fenced }] = await Promise.all([trustRoot.rotation(work), trustRoot.federation(work)]);
    return ok({ ...rotation, fenced });
  },
  rotateTrust: async (trustRoot, work) => {
    const done = await trustRoot.rotate(work.body as RotateBody, asking(work));
    return ok(done.rotation, done);
  },
  listTrustLog: async (trustRoot, work) => ok({ items: await trustRoot.log(Number(work.query['last'] ?? LOG_RECORDS), work) }),
  listFences: async (trustRoot, work) => ok({ items: (await trustRoot.federation(work)).fenced.map((cluster) => ({ cluster })) }),
  putFence: async (trustRoot, work) => {
    const { member = '' } = work.params;
    const done = await trustRoot.fence(member, (work.body as { readonly reason?: string }).reason ?? '', asking(work));
    return ok({ cluster: member, fenced: true, ...tried(work) }, done);
  },
  deleteFence: async (trustRoot, work) => {
    const { member = '' } = work.params;
    const done = await trustRoot.unfence(member, asking(work));
    return ok({ cluster: member, fenced: false, ...tried(work) }, done);
  },
  createClusterToken: async (trustRoot, work) => {
    const { cluster, ttlSeconds = 0, replace = false } = work.body as { readonly cluster: string; readonly ttlSeconds?: number; readonly replace?: boolean };
    const { id, token, expiresAtMs, replayed } = await trustRoot.createClusterToken({ cluster, ttlSeconds, replace }, asking(work));
    if (writeOptions(work).dryRun) return ok({ cluster, ...tried(work) });
    // The secret is in the first answer and nowhere else.
    return { status: 201, value: { cluster, id, expiresAtMs, ...(token !== '' && { token }) }, headers: replay({ replayed }) };
  },
  removeMember: async (trustRoot, work) => {
    const { member = '' } = work.params;
    const done = await trustRoot.removeCluster(member, asking(work));
    return ok({ cluster: member, removed: !writeOptions(work).dryRun, ...tried(work) }, done);
  },
};

function asking(work: Work): Asking {
  return { id: work.id, signal: work.signal, caller: work.caller, write: writeOptions(work) };
}

function tried(work: Work): { readonly dryRun?: true } {
  return writeOptions(work).dryRun ? { dryRun: true } : {};
}

function ok(value: object, done?: Replayable): Answered {
  return { status: 200, value, ...(done !== undefined && { headers: replay(done) }) };
}
