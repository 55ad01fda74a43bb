// What changed between two states of the trust root, as records for the transparency log: whoever changes the state, no change is left out.
import { X509Certificate } from 'node:crypto';
import { sha256Hex } from '@isthmus/pki';
import { bundleChanges, memberChanges } from '../transparency-log/changes.ts';
import type { Facts, Happening } from '../transparency-log/record.ts';
import type { ClusterToken, TrustRootState } from './state.ts';

/** The state before there was any. */
export function stateBefore(state: TrustRootState): TrustRootState {
  return { ...state, root: '', members: [], bundles: [], formerSequences: {}, tokens: [], journal: [], fences: [] };
}

/** In the order in which they depend on each other: root, tokens, certificates, members, bundles. Holds no secret and no hash of one. */
export function changesBetween(before: TrustRootState, after: TrustRootState): readonly Happening[] {
  return [
    ...rootChanges(before, after),
    ...tokenChanges(before.tokens, after.tokens),
    ...after.journal.filter((entry) => !before.journal.some((known) => known.serial === entry.serial)).map((entry) => ({ kind: 'intermediate-signed', facts: { ...entry } })),
    ...memberChanges(before.members, after.members),
    ...fenceChanges(before, after),
    ...bundleChanges(before.bundles, after.bundles),
  ];
}

/** The first root, or a step of a rotation: the incoming root whole when it is made, then which step comes, who is not waited for and who was cut off. */
function rootChanges(before: TrustRootState, after: TrustRootState): readonly Happening[] {
  if (before.root === '') return [rootCertificate(after.root)];
  const [was, is] = [before.rotation, after.rotation];
  const made = is?.to !== undefined && is.to.root !== was?.to?.root && !is.isRollback ? [rootCertificate(is.to.root)] : [];
  const signing = before.root === after.root ? [] : [{ kind: 'root-switched', facts: { sha256: sha256Hex(Buffer.from(after.root, 'base64')) } }];
  if (is === undefined || is === was) return [...made, ...signing];
  const { id, step, paused, compromised, isRollback, without, cutOff } = is;
  return [...made, ...signing, { kind: 'root-rotation', facts: { id, step, paused, compromised, isRollback, without: [...without], cutOff: [...cutOff] } }];
}

/** A certificate that is trusted from now on, whole, so that the log alone can be checked against it. */
function rootCertificate(base64: string): Happening {
  const der = Buffer.from(base64, 'base64');
  const cert = new X509Certificate(der);
  return {
    kind: 'root-certificate',
    facts: { certificate: base64, sha256: sha256Hex(der), serial: cert.serialNumber, notBeforeMs: Date.parse(cert.validFrom), expiresAtMs: Date.parse(cert.validTo) },
  };
}

function fenceChanges(before: TrustRootState, after: TrustRootState): readonly Happening[] {
  return (after.fences ?? []).flatMap((fence): readonly Happening[] => {
    const { cluster, trustDomain, reason, fencedAtMs, liftedAtMs } = fence;
    const was = before.fences?.find((f) => f.trustDomain === trustDomain && f.fencedAtMs === fencedAtMs);
    if (was === undefined) return [{ kind: 'cluster-fenced', facts: { cluster, trustDomain, reason } }];
    return liftedAtMs !== undefined && was.liftedAtMs === undefined ? [{ kind: 'cluster-unfenced', facts: { cluster, trustDomain, revokedBeforeMs: liftedAtMs } }] : [];
  });
}

function tokenChanges(before: readonly ClusterToken[], after: readonly ClusterToken[]): Happening[] {
  const known = new Map(before.map((token) => [token.id, token]));
  const left = new Set(after.map((token) => token.id));
  const made = after.filter((token) => !known.has(token.id)).map((token) => ({ kind: 'cluster-token-created', facts: factsOf(token) }));
  const spent = after.filter((token) => token.usedAtMs !== undefined && known.get(token.id)?.usedAtMs === undefined);
  // One that is used or has run out is forgotten some day; only the end of one that could still be spent is a change of policy.
  const gone = before.filter((token) => !left.has(token.id) && token.usedAtMs === undefined);
  return [
    ...made,
    ...spent.map((token) => ({ kind: 'cluster-token-spent', facts: { id: token.id, cluster: token.cluster } })),
    ...gone.map((token) => ({ kind: 'cluster-token-void', facts: { id: token.id, cluster: token.cluster } })),
  ];
}

function factsOf({ id, cluster, replace, expiresAtMs }: ClusterToken): Facts {
  return { id, cluster, replace, expiresAtMs };
}
