// The steady view: requests from vm-1 to payments, with the cluster and instance that answered.
import { systemClock } from '@isthmus/runtime';
import type { OutboundAddress, Outcome } from './traffic.ts';
import { request } from './traffic.ts';

const EVERY_MS = 500;
const SHOWN_ROWS = 12;

/** What to try next, printed under the view. */
export const HINTS: readonly (readonly [what: string, how: string])[] = [
  ['print the endpoints of payments', 'npm run isthmus -- service endpoints payments'],
  ['stop the east instances and watch west answer', 'npm run isthmus -- demo stop east'],
  ['start them again and watch traffic return', 'npm run isthmus -- demo start east'],
  ['read the SVIDs vm-1 holds', 'npm run isthmus -- certificate show'],
  ['see the other cluster as east sees it', 'npm run isthmus -- cluster peers'],
  ['see how east’s control plane is', 'npm run isthmus -- status'],
];

/** Sends a request twice a second and shows each outcome, until `signal` aborts. */
export async function showRequests(to: OutboundAddress, stdout: NodeJS.WriteStream, signal: AbortSignal): Promise<void> {
  const recent: string[] = [];
  const counts = new Map<string, number>();
  let drawnLines = 0;
  for (const line of hintLines()) stdout.write(`${line}\n`);
  if (stdout.isTTY !== true) stdout.write('requests from vm-1 to payments:\n');
  while (!signal.aborted) {
    const outcome = await request(to);
    if (signal.aborted) return;
    const line = formatOutcome(outcome, new Date(systemClock.nowMs()));
    if (stdout.isTTY !== true) {
      stdout.write(`${line}\n`);
    } else {
      const who = outcome.ok ? `${outcome.cluster} ${outcome.instance}` : 'failed';
      counts.set(who, (counts.get(who) ?? 0) + 1);
      recent.push(line);
      if (recent.length > SHOWN_ROWS) recent.shift();
      const summary = [...counts].toSorted(([a], [b]) => a.localeCompare(b)).map(([name, count]) => `${name}: ${count}`).join('   ');
      const lines = ['', 'vm-1 → payments   (Ctrl-C ends everything)', ...recent, summary].map((l) => l.slice(0, Math.max(20, (stdout.columns ?? 80) - 1)));
      stdout.write(`${drawnLines > 0 ? `\x1b[${drawnLines}A\x1b[0J` : ''}${lines.join('\n')}\n`);
      drawnLines = lines.length;
    }
    await systemClock.sleep(EVERY_MS, signal).catch(() => undefined);
  }
}

/** `07:31:02  east  payments-1  3.1 ms`, or what went wrong. */
export function formatOutcome(outcome: Outcome, at: Date): string {
  const time = at.toTimeString().slice(0, 8);
  const latency = `${outcome.latencyMs.toFixed(1)} ms`;
  return outcome.ok ? `${time}  ${outcome.cluster.padEnd(8)}${outcome.instance.padEnd(14)}${latency}` : `${time}  FAILED  ${outcome.why}  ${latency}`;
}

function hintLines(): string[] {
  const width = Math.max(...HINTS.map(([what]) => what.length));
  return ['', 'try, in another terminal:', ...HINTS.map(([what, how]) => `  ${what.padEnd(width)}  ${how}`), ''];
}
