// The first step of every tour: the federation is up, and a request crosses clusters.
import { need } from './step.ts';
import type { Walk } from './tours.ts';

/** Waits for the start; whether it held. */
export async function walkStart(walk: Walk): Promise<boolean> {
  const { record, start, beganMonotonicMs } = walk;
  return record.step('federation-starts', async () => {
    await start.ready;
    await walk.progress;
    const { atMonotonicMs } = await start.firstCrossClusterAnswer;
    const firstCrossClusterAnswerMs = Math.round(atMonotonicMs - beganMonotonicMs);
    record.figure('firstCrossClusterAnswerMs', firstCrossClusterAnswerMs);
    const running = walk.federation.options.supervisor.list().filter((p) => p.isRunning);
    need(running.length > 0, 'no process runs');
    return { detail: `${running.length} processes; first answer across clusters ${firstCrossClusterAnswerMs} ms after the command began`, measured: { firstCrossClusterAnswerMs } };
  });
}
