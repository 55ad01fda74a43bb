// What changed between two views of a federation, as records: members and bundles.
import type { Bundle, Member } from '@isthmus/model';
import { sha256Hex } from '@isthmus/pki';
import type { Happening } from './record.ts';

/** Members that came, went or changed. */
export function memberChanges(before: readonly Member[], after: readonly Member[]): Happening[] {
  const known = new Map(before.map((member) => [member.cluster, member]));
  const left = new Set(after.map((member) => member.cluster));
  return [
    ...before.filter((member) => !left.has(member.cluster)).map((member) => ({ kind: 'member-removed', facts: { cluster: member.cluster, trustDomain: member.trustDomain } })),
    ...after.flatMap((member) => {
      const was = known.get(member.cluster);
      if (was !== undefined && JSON.stringify(was) === JSON.stringify(member)) return [];
      const { cluster, trustDomain, locality, gateways } = member;
      return [{ kind: was === undefined ? 'member-joined' : 'member-changed', facts: { cluster, trustDomain, locality, gateways } }];
    }),
  ];
}

/** Changes of bundles: their sequence and the hashes of their authorities. */
export function bundleChanges(before: readonly Bundle[], after: readonly Bundle[]): Happening[] {
  const known = new Map(before.map((bundle) => [bundle.trustDomain, bundle.sequence]));
  const left = new Set(after.map((bundle) => bundle.trustDomain));
  return [
    ...before.filter((bundle) => !left.has(bundle.trustDomain)).map(({ trustDomain, sequence }) => ({ kind: 'bundle-removed', facts: { trustDomain, sequence } })),
    ...after
      .filter((bundle) => known.get(bundle.trustDomain) !== bundle.sequence)
      .map(({ trustDomain, sequence, x509Authorities, jwtAuthorities = [] }) => ({
        kind: 'bundle',
        facts: {
          trustDomain,
          sequence,
          authoritiesSha256: x509Authorities.map((authority) => sha256Hex(Buffer.from(authority, 'base64'))),
          ...(jwtAuthorities.length > 0 && { jwtKeysSha256: jwtAuthorities.map(({ publicKey }) => sha256Hex(Buffer.from(publicKey, 'base64'))) }),
        },
      })),
  ];
}
