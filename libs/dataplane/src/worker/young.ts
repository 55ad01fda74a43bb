// What V8 is told about the objects of a thread that carries traffic.
import { setFlagsFromString } from 'node:v8';

/**
 * Keeps V8 from learning that requests live long, in this process from now on. Under a burst it would: it would make the
 * next ones old from birth and find them only when everything is marked, and each collection of the young would then
 * have what those hold on to for alive (decision 0034).
 */
export function keepRequestsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
