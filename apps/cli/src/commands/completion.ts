// `isthmus completion SHELL`: a script that completes commands and options, made from the command tree itself.
import type { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { KIND_WORDS } from './kinds.ts';

/** Kinds `get` takes, and other words that are no command of their own. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  get: KIND_WORDS,
  completion: ['bash', 'zsh', 'fish'],
  logs: ['trust-root', 'control-plane', 'gateway', 'agent', 'admin-api'],
};

/** Prints the script; put `source <(isthmus completion bash)` into the shell's start-up file. */
export async function printCompletion(context: CommandContext, [shell = '']: readonly string[], program: Command): Promise<void> {
  const words = wordsOf(program);
  const choices = choicesOf(program);
  const script = shell === 'bash' ? bash(words, choices) : shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash(words, choices)}` : shell === 'fish' ? fish(words, choices) : undefined;
  if (script === undefined) throw fail('CLI_BAD_INPUT', `no completion for ${JSON.stringify(shell)}`, { hint: 'there is bash, zsh and fish' });
  context.stdout.write(script);
}

/** What may follow each chain of commands, such as `service apply`: commands, words, its own options and those of all. */
export function wordsOf(program: Command): ReadonlyMap<string, readonly string[]> {
  const everywhere = ['--help', ...longOf(program)];
  return new Map(chainsOf(program, []).map(([path, command]) => {
    const own = [...command.commands.map((c) => c.name()), ...(WORDS[path] ?? []), ...(path === '' ? [] : longOf(command))];
    return [path, [...own, ...everywhere]];
  }));
}

/** What may follow an option that has choices. */
export function choicesOf(program: Command): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>();
  for (const [, command] of chainsOf(program, [])) {
    for (const { long, short, argChoices } of command.options) {
      for (const name of [long, short]) if (name !== undefined && name !== null && argChoices !== undefined) found.set(name, new Set([...(found.get(name) ?? []), ...argChoices]));
    }
  }
  return new Map([...found].map(([name, all]) => [name, [...all]]));
}

function chainsOf(command: Command, path: readonly string[]): readonly (readonly [string, Command])[] {
  return [[path.join(' '), command], ...command.commands.flatMap((c) => chainsOf(c, [...path, c.name()]))];
}

function longOf(command: Command): readonly string[] {
  return command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]));
}

type Words = ReadonlyMap<string, readonly string[]>;

function bash(words: Words, choices: Words): string {
  const cases = [...words].map(([path, next]) => `    ${JSON.stringify(path)}) words=${JSON.stringify(next.join(' '))} ;;`);
  const values = [...choices].map(([option, next]) => `    ${option}) COMPREPLY=($(compgen -W ${JSON.stringify(next.join(' '))} -- "\${COMP_WORDS[COMP_CWORD]}")); return ;;`);
  return `_isthmus() {
  local chain="" word words=""
  case "\${COMP_WORDS[COMP_CWORD-1]}" in
${values.join('\n')}
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) chain="\${chain:+$chain }$word" ;; esac
  done
  while :; do
    case "$chain" in
${cases.join('\n')}
    esac
    [ -n "$words" ] || [ -z "$chain" ] && break
    case "$chain" in *" "*) chain="\${chain% *}" ;; *) chain="" ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _isthmus isthmus
`;
}

function fish(words: Words, choices: Words): string {
  const lines = [...words].flatMap(([path, next]) => {
    const seen = path === '' ? '__fish_use_subcommand' : path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    return next.map((word) => {
      const values = choices.get(word);
      return `complete -c isthmus -n '${seen}' ${word.startsWith('--') ? `-l ${word.slice(2)}${values === undefined ? '' : ` -xa '${values.join(' ')}'`}` : `-f -a ${word}`}`;
    });
  });
  return `${lines.join('\n')}\n`;
}
