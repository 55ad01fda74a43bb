// `isthmus completion SHELL`: a script that completes commands and options, made from the command tree itself.
import type { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';

/** Prints the script; put `source <(isthmus completion bash)` into the shell's start-up file. */
export async function printCompletion(context: CommandContext, [shell = '']: readonly string[], program: Command): Promise<void> {
  const words = wordsOf(program);
  const script = shell === 'bash' ? bash(words) : shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash(words)}` : shell === 'fish' ? fish(words) : undefined;
  if (script === undefined) throw fail('CLI_BAD_INPUT', `no completion for ${JSON.stringify(shell)}`, { hint: 'there is bash, zsh and fish' });
  context.stdout.write(script);
}

/** What may follow each chain of commands, such as `service apply`. */
export function wordsOf(command: Command, path: readonly string[] = []): ReadonlyMap<string, readonly string[]> {
  const own = [...command.commands.map((c) => c.name()), ...command.options.map((o) => o.long ?? '')].filter((word) => word !== '');
  return new Map([[path.join(' '), own], ...command.commands.flatMap((c) => [...wordsOf(c, [...path, c.name()])])]);
}

function bash(words: ReadonlyMap<string, readonly string[]>): string {
  const cases = [...words].map(([path, next]) => `    ${JSON.stringify(path)}) words=${JSON.stringify([...next, '--help', '--output'].join(' '))} ;;`);
  return `_isthmus() {
  local path="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${cases.join('\n')}
    esac
    [ -n "$words" ] || [ -z "$path" ] && break
    case "$path" in *" "*) path="\${path% *}" ;; *) path="" ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _isthmus isthmus
`;
}

function fish(words: ReadonlyMap<string, readonly string[]>): string {
  const lines = [...words].flatMap(([path, next]) => {
    const seen = path === '' ? '__fish_use_subcommand' : path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    return next.map((word) => `complete -c isthmus -n '${seen}' ${word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`}`);
  });
  return `${lines.join('\n')}\n`;
}
