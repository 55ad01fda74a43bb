// The federation's root of trust over the API: the trust root is asked for the person who called, and decides itself.
import type { Answered, Work } from '../server.ts';
import type { RotateBody, TrustRoot } from '../trust-root.ts';

const LOG_RECORDS = 100;

/** What each route of `/v1/trust` does. */
export const TRUST_WORK: Readonly<Record<string, (trustRoot: TrustRoot, work: Work) => Promise<Answered>>> = {
  getTrust: async (trustRoot, work) => {
    const [rotation, { fenced }] = await Promise.all([trustRoot.rotation(work), trustRoot.federation(work)]);
    return ok({ ...rotation, fenced });
  },
  rotateTrust: async (trustRoot, work) => ok(await trustRoot.rotate(work.body as RotateBody, work)),
  listTrustLog: async (trustRoot, work) => ok({ items: await trustRoot.log(Number(work.query['last'] ?? LOG_RECORDS), work) }),
  listFences: async (trustRoot, work) => ok({ items: (await trustRoot.federation(work)).fenced.map((cluster) => ({ cluster })) }),
  putFence: async (trustRoot, work) => {
    const { member = '' } = work.params;
    await trustRoot.fence(member, (work.body as { readonly reason?: string }).reason ?? '', work);
    return ok({ cluster: member, fenced: true });
  },
  deleteFence: async (trustRoot, work) => {
    const { member = '' } = work.params;
    await trustRoot.unfence(member, work);
    return ok({ cluster: member, fenced: false });
  },
  createClusterToken: async (trustRoot, work) => {
    const { cluster, ttlSeconds = 0, replace = false } = work.body as { readonly cluster: string; readonly ttlSeconds?: number; readonly replace?: boolean };
    return { status: 201, value: { cluster, ...(await trustRoot.createClusterToken({ cluster, ttlSeconds, replace }, work)) } };
  },
  removeMember: async (trustRoot, work) => {
    const { member = '' } = work.params;
    await trustRoot.removeCluster(member, work);
    return ok({ cluster: member, removed: true });
  },
};

function ok(value: object): Answered {
  return { status: 200, value };
}
