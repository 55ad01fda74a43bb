// Finds a resource of the API's contract by its kind.
import type { Resource } from '@isthmus/api';

/** **Throws** TypeError for a kind the contract has not. */
export function resourceNamed(resources: readonly Resource[], kind: string): Resource {
  const found = resources.find((resource) => resource.kind === kind);
  if (found === undefined) throw new TypeError(`the admin API has no resource ${kind}`);
  return found;
}
