// A registration's name among all, and whether two say the same.
import { type Registration, registrationKey } from '@isthmus/model';

/** `<namespace>/<service>/<agent>.<instance>`: a registration's name among all. */
export function fullKey(r: Pick<Registration, 'namespace' | 'service' | 'agent' | 'instance'>): string {
  return `${r.namespace}/${r.service}/${registrationKey(r)}`;
}

/** Whether two registrations say the same but for their sequence. */
export function sameContent(a: Registration, b: Registration): boolean {
  return JSON.stringify({ ...a, sequence: 0 }) === JSON.stringify({ ...b, sequence: 0 });
}
