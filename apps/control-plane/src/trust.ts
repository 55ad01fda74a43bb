// What everybody of this cluster trusts, told upwards; roots on their way out, told downwards.
import type { Push } from '@isthmus/discovery';
import type { Authority, Issuance, ProxyTrust } from '@isthmus/identity';

/** Time a renewal takes an authority, with room to spare: so many proxies are spread over so many times it. */
const SPREAD_MS_PER_PROXY = 2;

/** Connects the two; ends with the authority and the push. */
export function followTrust(authority: Authority, issuance: Issuance, push: Push): void {
  const reports = authority.reportTrust(() => proxiesOf(issuance, push));
  push.onTrust(() => reports.changed());
  const hint = (): void => push.hint({ ...authority.renewHint(), spreadMs: push.proxies().length * SPREAD_MS_PER_PROXY });
  authority.onRoots(hint);
  hint();
}

/** Everybody who may renew here, with what they told: who has an entry and tells nothing stands there as never heard. */
async function proxiesOf(issuance: Issuance, push: Push): Promise<readonly ProxyTrust[]> {
  const told = new Map(push.trust().map((t) => [`${t.kind}/${t.name}`, t]));
  return (await issuance.listEntries()).flatMap(({ role, agent }) => {
    // An operator holds no stream that could tell; one whose root is gone logs in again.
    if (role === 'operator') return [];
    const trust = told.get(`${role}/${agent}`);
    return [{ kind: role, name: agent, isConnected: trust?.isConnected ?? false, heardAtMs: trust?.heardAtMs, facts: trust?.facts }];
  });
}
