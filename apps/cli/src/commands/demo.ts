// `isthmus demo …`: stop and start parts of the running demo, to see what the mesh makes of it.
import type { CommandContext } from '../context.ts';
import { askDemo } from '../demo/control.ts';
import { demoPaths } from '../demo/paths.ts';
import { printOutcome, printRows } from '../output/table.ts';

export async function stopDemo(context: CommandContext, [what = '']: readonly string[]): Promise<void> {
  const names = (await ask(context, { verb: 'stop', what })) as string[];
  printOutcome(context, `stopped ${names.join(', ')}`, { stopped: names });
}

export async function startDemo(context: CommandContext, [what = '']: readonly string[]): Promise<void> {
  const names = (await ask(context, { verb: 'start', what })) as string[];
  printOutcome(context, `started ${names.join(', ')}`, { started: names });
}

export async function listDemo(context: CommandContext): Promise<void> {
  const rows = (await ask(context, { verb: 'list' })) as { name: string; pid: number; isRunning: boolean }[];
  printRows(context, rows, [
    ['process', (r) => r.name],
    ['pid', (r) => r.pid],
    ['state', (r) => (r.isRunning ? 'running' : 'ended')],
  ]);
}

const ask = (context: CommandContext, request: Parameters<typeof askDemo>[1]): Promise<unknown> => askDemo(demoPaths(context.stateDir).socket('demo'), request);
