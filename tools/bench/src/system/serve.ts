// The other end of `startService`: a module's commands, called over IPC.
import type { Answer } from './running.ts';

export type Commands = Readonly<Record<string, (args: never) => unknown>>;

/** Answers calls until the parent goes away; then the process ends. `start` is called first and returns the port. */
export function serveCommands(commands: Commands): void {
  process.on('message', (message) => {
    const { id, command, args } = message as { readonly id: number; readonly command: string; readonly args: never };
    void run(commands[command], args).then((answer) => process.send?.({ id, ...answer } satisfies Answer));
  });
  process.once('disconnect', () => process.exit(0));
  process.once('SIGTERM', () => process.exit(0));
}

async function run(command: ((args: never) => unknown) | undefined, args: never): Promise<Omit<Answer, 'id'>> {
  try {
    if (command === undefined) throw new Error('no such command');
    return { result: await command(args) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
