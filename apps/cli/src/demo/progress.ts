// Live progress of the start: listr2's moving list on a terminal, one plain line a phase elsewhere.
import { messageOf } from '@isthmus/model';
import type { Phase } from './start.ts';

/** Shows the phases until all are done; failures are the caller's to report. */
export async function showProgress(phases: readonly Phase[], stdout: NodeJS.WriteStream): Promise<void> {
  if (stdout.isTTY === true) return showMoving(phases);
  await Promise.allSettled(
    phases.map(async ({ title, done }) => {
      try {
        stdout.write(`ready ${title}: ${await done}\n`);
      } catch (error) {
        stdout.write(`failed ${title}: ${messageOf(error).split('\n')[0]}\n`);
      }
    }),
  );
}

async function showMoving(phases: readonly Phase[]): Promise<void> {
  const { Listr } = await import('listr2');
  const list = new Listr(
    phases.map(({ title, done }) => ({
      title,
      task: async (_context: unknown, task: { title: string | undefined }): Promise<void> => {
        task.title = `${title}: ${await done}`;
      },
    })),
    { concurrent: true, exitOnError: false, registerSignalListeners: false, rendererOptions: { collapseErrors: true } },
  );
  await list.run().catch(() => undefined);
}
