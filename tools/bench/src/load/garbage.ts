// Keeps the collections of a load generator out of what it measures.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Flags for Node: room for what some seconds of load leave behind. */
export const ROOM_FOR_GARBAGE: readonly string[] = ['--max-semi-space-size=64', '--min-semi-space-size=64'];

/** What opening connections left behind is collected now, not while something is measured. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}
