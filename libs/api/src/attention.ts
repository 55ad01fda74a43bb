// What of a federation needs a look, gravest first: made from the documents its clusters answer with. Pure.
import { formatDuration } from '@isthmus/model';

/** `failing`: something does not work now. `expiring`: it will not, if nobody acts. `stale`: what is known is old. `under-way`: a change is not done yet. */
export type Severity = 'failing' | 'expiring' | 'stale' | 'under-way';
export const SEVERITIES: readonly Severity[] = ['failing', 'expiring', 'stale', 'under-way'];

export type Attention = {
  readonly severity: Severity;
  /** Empty for what is the whole federation's. */
  readonly cluster: string;
  /** What it is about, such as `peer west` or `agent vm-1`. */
  readonly subject: string;
  readonly detail: string;
};

type Document = Readonly<Record<string, unknown>>;

/** One cluster's part of the federation's state. */
export type ClusterPart = {
  readonly cluster: string;
  readonly source: 'own' | 'forwarded' | 'mirror';
  readonly ageMs?: number;
  readonly status?: Document;
  readonly problem?: Document;
};
/** The root of trust: its document, or why it could not be had. */
export type TrustPart = Document & { readonly problem?: Document };

const CLUSTER_IDENTITY_SECONDS = 900;
const MEMBER_IDENTITY_SECONDS = 300;
const CLOCK_ALARM_MS = 30_000;
const ROOT_MS = 90 * 86_400_000;

/** Everything that needs a look, in the order of how grave it is, then by cluster. */
export function attentionOf(parts: readonly ClusterPart[], trust: TrustPart | undefined, nowMs: number): readonly Attention[] {
  const found = [...parts.flatMap((part) => ofPart(part, nowMs)), ...(trust === undefined ? [] : ofTrust(trust, nowMs))];
  const rank = ({ severity }: Attention): number => SEVERITIES.indexOf(severity);
  return found.toSorted((a, b) => rank(a) - rank(b) || (a.cluster < b.cluster ? -1 : a.cluster > b.cluster ? 1 : 0));
}

function ofPart({ cluster, ageMs, status = {}, problem }: ClusterPart, nowMs: number): readonly Attention[] {
  const say = (severity: Severity, subject: string, detail: string): Attention => ({ severity, cluster, subject, detail });
  if (problem !== undefined) {
    const known = ageMs === undefined ? 'and nothing is known of it' : `what is known of it is ${formatDuration(ageMs)} old`;
    return [say('failing', 'cluster', `cannot be asked: ${text(problem['detail'])}; ${known}`)];
  }
  return [...ofControlPlane(status, nowMs, say), ...ofPeers(status, say), ...ofProxies(status, say)];
}

type Say = (severity: Severity, subject: string, detail: string) => Attention;

function ofControlPlane(status: Document, nowMs: number, say: Say): readonly Attention[] {
  const [store, identity] = [part(status['store']), part(status['identity'])];
  const seconds = identity['secondsToIdentityLoss'];
  const unhealthy = Object.entries(part(status['workloads'])).filter(([health, count]) => health !== 'healthy' && Number(count) > 0);
  return [
    ...(store['current'] === false ? [say('failing', 'store', 'is away; the last known state is in use')] : []),
    ...list(store['refusedRecords']).map((r) => say('failing', `record ${text(r['key'])}`, `does not parse: ${text(r['reason'])}`)),
    ...(part(identity['log'])['isWritable'] === false ? [say('failing', 'transparency log', 'cannot be written, so nothing is issued')] : []),
    ...clocksApart(identity['clockSkewMs']).map((by) => say('failing', 'clock', `the trust root’s clock is ${by} this cluster’s; beyond a minute certificates are refused`)),
    ...unhealthy.map(([health, count]) => say(health === 'draining' ? 'under-way' : 'failing', 'workloads', `${text(count)} ${health}`)),
    ...(typeof seconds === 'number' && seconds < CLUSTER_IDENTITY_SECONDS ? [say('expiring', 'identity', `the cluster can issue nothing more in ${formatDuration(seconds * 1_000)}${identity['lastError'] === undefined ? '' : ` (${text(identity['lastError'])})`}`)] : []),
    ...endsSoon(identity['rootExpiresAtMs'], nowMs).map((left) => say('expiring', 'root', `ends in ${left}; replace it with \`isthmus trust rotate\``)),
    ...(identity['trustRootReachable'] === false ? [say('stale', 'trust root', `is away${identity['lastError'] === undefined ? '' : `: ${text(identity['lastError'])}`}`)] : []),
  ];
}

/** Half of the minute that certificates allow for. */
function clocksApart(skewMs: unknown): readonly string[] {
  if (typeof skewMs !== 'number' || Math.abs(skewMs) < CLOCK_ALARM_MS) return [];
  return [`${formatDuration(Math.abs(skewMs))} ${skewMs > 0 ? 'ahead of' : 'behind'}`];
}

function ofPeers(status: Document, say: Say): readonly Attention[] {
  return [
    ...list(status['peers']).flatMap((p) => [
      ...(Number(p['refused']) > 0 ? [say('failing', `peer ${text(p['cluster'])}`, `${text(p['refused'])} records refused, last: ${text(p['lastRefusal'])}`)] : []),
      ...(p['state'] === 'fresh' ? [] : [say(p['state'] === 'stale' ? 'stale' : 'failing', `peer ${text(p['cluster'])}`, `is ${text(p['state'])}${ago(p['ageMs'], ', last heard ')}`)]),
    ]),
    ...list(status['foreignTrustDomains'])
      .filter((f) => f['state'] !== 'ok')
      .map((f) => {
        const why = f['lastError'] === undefined ? '' : ` (${text(f['lastError'])})`;
        return say(f['state'] === 'none' ? 'failing' : 'stale', `foreign trust domain ${text(f['trustDomain'])}`, f['state'] === 'none' ? `has no bundle, nobody of it is let in${why}` : `last good bundle${ago(f['ageMs'], ' of ')} in use${why}`);
      }),
  ];
}

function ofProxies(status: Document, say: Say): readonly Attention[] {
  return [
    // What nobody takes back stays so.
    ...list(status['drains']).map((d) => say('under-way', `${text(d['role'])} ${text(d['name'])}`, `is out of service${Array.isArray(d['workloads']) ? ` for ${d['workloads'].length} of its workloads` : ''}${d['reason'] === undefined ? '' : `: ${text(d['reason'])}`}`)),
    ...list(status['proxies'])
      .filter((p) => p['nack'] !== undefined)
      .map((p) => say('failing', `${text(p['kind'])} ${text(p['name'] ?? p['id'])}`, `refused a configuration: ${text(part(p['nack'])['reason'])}`)),
    ...list(status['identities']).flatMap((m) => {
      const [subject, seconds] = [`${text(m['kind'])} ${text(m['name'])}`, m['secondsToIdentityLoss']];
      return [
        ...(typeof seconds === 'number' && seconds < MEMBER_IDENTITY_SECONDS ? [say('expiring', subject, seconds === 0 ? 'its identity has run out' : `its identity lasts ${formatDuration(seconds * 1_000)}`)] : []),
        ...(m['isConnected'] === false ? [say('stale', subject, 'is not connected; it goes on with what it has')] : []),
      ];
    }),
  ];
}

function ofTrust(trust: TrustPart, nowMs: number): readonly Attention[] {
  const say = (severity: Severity, subject: string, detail: string): Attention => ({ severity, cluster: '', subject, detail });
  if (trust.problem !== undefined) return [say('failing', 'trust root', `cannot be asked: ${text(trust.problem['detail'])}`)];
  const rotation = part(trust['rotation']);
  const isOpen = typeof rotation['step'] === 'string' && rotation['step'] !== 'done';
  const roots = list(trust['roots']).filter((r) => r['state'] === 'signing');
  const waiting = Number(rotation['waitingCount'] ?? 0);
  return [
    ...(part(trust['key'])['isAvailable'] === false ? [say('failing', 'root', `its key is away (${text(part(trust['key'])['place'])}), so no intermediate is renewed`)] : []),
    ...(isOpen && rotation['lastError'] !== undefined ? [say('failing', 'rotation of the root', `cannot go on: ${text(rotation['lastError'])}`)] : []),
    ...roots.flatMap((r) => endsSoon(r['expiresAtMs'], nowMs).map((left) => say('expiring', 'root', `ends in ${left}; replace it with \`isthmus trust rotate\``))),
    ...(isOpen ? [say('under-way', 'rotation of the root', `is at ${text(rotation['step'])}${rotation['paused'] === true ? ', paused' : ''}${waiting > 0 ? `, waits for ${waiting}` : ''}`)] : []),
  ];
}

function endsSoon(atMs: unknown, nowMs: number): readonly string[] {
  return typeof atMs === 'number' && atMs - nowMs < ROOT_MS ? [formatDuration(Math.max(0, atMs - nowMs))] : [];
}

function ago(ageMs: unknown, before: string): string {
  return typeof ageMs === 'number' ? `${before}${formatDuration(ageMs)} ago` : '';
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : value === undefined ? '-' : JSON.stringify(value);
}

function part(value: unknown): Document {
  return typeof value === 'object' && value !== null ? (value as Document) : {};
}

function list(value: unknown): readonly Document[] {
  return Array.isArray(value) ? value.map(part) : [];
}
