// What everybody of this cluster trusts, told upwards; roots on their way out, told downwards.
import type { Push } from '@isthmus/discovery';
import type { Authority, Issuance, ProxyTrust } from '@isthmus/identity';
import type { Metrics } from '@isthmus/telemetry';

/** Time a renewal takes an authority, with room to spare: so many proxies are spread over so many times it. */
const SPREAD_MS_PER_PROXY = 2;

/** Connects the two; ends with the authority and the push. */
export function followTrust(authority: Authority, issuance: Issuance, push: Push, metrics: Metrics): void {
  push.onTrust(reportEnds(push, metrics));
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

/** When each proxy can no longer prove who it is, unless something is renewed; undefined where it never told. */
export function identitiesOf(push: Pick<Push, 'trust'>): readonly { readonly kind: string; readonly name: string; readonly isConnected: boolean; readonly expiresAtMs: number | undefined }[] {
  return push.trust().map(({ kind, name, isConnected, facts }) => ({ kind, name, isConnected, expiresAtMs: facts.live.length === 0 ? undefined : Math.max(...facts.live.map((live) => live.expiresAtMs)) }));
}

/** The same as a metric, as a moment: it needs no timer, and `- time()` makes it a count-down. */
function reportEnds(push: Push, metrics: Metrics): () => void {
  const gauge = metrics.gauge('isthmus_identity_member_expires_seconds', 'Unix time at which a gateway or agent of this cluster can no longer prove who it is, if nothing is renewed', ['kind', 'name']);
  let told = new Map<string, { readonly kind: string; readonly name: string }>();
  return () => {
    const now = new Map(identitiesOf(push).map(({ kind, name, expiresAtMs }) => [`${kind}/${name}`, { kind, name, expiresAtMs }]));
    for (const [key, labels] of told) if (!now.has(key)) gauge.remove(labels);
    for (const { kind, name, expiresAtMs } of now.values()) if (expiresAtMs !== undefined) gauge.set(Math.floor(expiresAtMs / 1_000), { kind, name });
    told = new Map([...now].map(([key, { kind, name }]) => [key, { kind, name }]));
  };
}
