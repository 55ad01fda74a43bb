// What stands between a command line and a command: its context, its options, and its module, loaded when it runs.
import type { Command } from 'commander';
import type { CommandContext, Target } from '../context.ts';

/** One command's work: positional arguments in order, then its own and the global options. */
export type Run = (context: CommandContext, args: readonly string[], options: Options) => Promise<void>;
export type Options = Readonly<Record<string, unknown>>;

/** A commander action that builds the context, then loads the command and runs it. */
export function run(target: Target | 'process', load: () => Promise<Run>) {
  return async (...raw: readonly unknown[]): Promise<void> => {
    const command = raw.at(-1) as Command;
    const options = command.optsWithGlobals() as Options;
    const [{ makeContext }, work] = await Promise.all([import('../context.ts'), load()]);
    const isGiven = (name: string): boolean => ['cli', 'env'].includes(command.getOptionValueSourceWithGlobals(name) ?? '');
    // A socket or a demo that is named goes before the context in use, and a context that is named before both.
    const mayUseContext = (target === 'control-plane' || target === 'trust-root' || target === 'agent' || target === 'gateway') && (isGiven('context') || !(isGiven('socket') || isGiven('state')));
    const api = mayUseContext ? await (await import('../contexts.ts')).findContext(options['context'] as string | undefined) : undefined;
    // Where no cluster is named, a command can tell: what is meant is the context's, or all of them.
    const named = isGiven('cluster') ? options : { ...options, cluster: undefined };
    await work(makeContext(target === 'process' ? 'control-plane' : target, options, api, isGiven('cluster')), command.args, named);
  };
}
