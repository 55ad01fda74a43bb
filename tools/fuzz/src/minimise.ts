// Makes an input that breaks something as short and plain as it can be while it still does.

const MAX_TRIES = 4_096;

/** The smallest input found for which `breaks` still holds; `breaks(input)` must hold. Tries at most 4,096 inputs, or `maxTries`. */
export function minimise(input: Buffer, breaks: (shorter: Buffer) => boolean, maxTries = MAX_TRIES): Buffer {
  let best = input;
  let tries = 0;
  const improves = (candidate: Buffer): boolean => {
    tries += 1;
    if (tries > maxTries || !breaks(candidate)) return false;
    best = candidate;
    return true;
  };
  // Without larger pieces first, then smaller ones, down to single bytes.
  for (let size = Math.ceil(best.length / 2); size >= 1 && tries < maxTries; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length && tries < maxTries; ) {
      if (!improves(Buffer.concat([best.subarray(0, at), best.subarray(at + size)]))) at += size;
    }
  }
  // What stays is plain where it does not matter.
  for (let at = 0; at < best.length && tries < maxTries; at++) {
    if (best[at] === 0x30) continue;
    const plainer = Buffer.from(best);
    plainer[at] = 0x30;
    improves(plainer);
  }
  return best;
}
