// Where something runs: region / zone / sub-zone.

export type Locality = { readonly region: string; readonly zone: string; readonly subZone: string };

export const NOWHERE: Locality = { region: '', zone: '', subZone: '' };

/** Parses `region/zone/sub-zone`; missing parts are empty. */
export function parseLocality(text: string): Locality {
  const [region = '', zone = '', subZone = ''] = text.split('/');
  return { region, zone, subZone };
}

export function formatLocality(l: Locality): string {
  return [l.region, l.zone, l.subZone].filter((part) => part !== '').join('/');
}

/** How far apart two places are: 0 same sub-zone, 1 same zone, 2 same region, 3 elsewhere (Istio's tiers, facts 3). */
export function distance(a: Locality, b: Locality): 0 | 1 | 2 | 3 {
  if (a.region === '' || a.region !== b.region) return 3;
  if (a.zone !== b.zone) return 2;
  return a.subZone === b.subZone ? 0 : 1;
}
