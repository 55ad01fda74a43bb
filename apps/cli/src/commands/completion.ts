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
  const write = new Map([['bash', bash], ['zsh', zsh], ['fish', fish]]).get(shell);
  if (write === undefined) throw fail('CLI_BAD_INPUT', `no completion for ${JSON.stringify(shell)}`, { hint: 'there is bash, zsh and fish' });
  const choices = choicesOf(program);
  context.stdout.write(write({ words: wordsOf(program), choices, valued: valuedOf(program).filter((name) => !choices.has(name)) }));
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

/** Options that take a value. */
function valuedOf(program: Command): readonly string[] {
  const names = chainsOf(program, []).flatMap(([, { options }]) => options.filter((o) => o.required || o.optional).flatMap(({ long, short }) => [long, short]));
  return [...new Set(names.filter((name) => name !== undefined && name !== null))];
}

function chainsOf(command: Command, path: readonly string[]): readonly (readonly [string, Command])[] {
  return [[path.join(' '), command], ...command.commands.flatMap((c) => chainsOf(c, [...path, c.name()]))];
}

function longOf(command: Command): readonly string[] {
  return command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]));
}

type Words = ReadonlyMap<string, readonly string[]>;

/** What the scripts are made of. */
type Tables = { readonly words: Words; readonly choices: Words; readonly valued: readonly string[] };

/** In the word before the cursor an option with choices, or else the longest chain of commands that is known. */
function bash({ words, choices, valued }: Tables): string {
  const cases = [...words].map(([path, next]) => `      ${JSON.stringify(path)}) words=${JSON.stringify(next.join(' '))} ;;`);
  const values = [...choices].map(([option, next]) => `    ${option}) COMPREPLY=($(compgen -W ${JSON.stringify(next.join(' '))} -- "\${COMP_WORDS[COMP_CWORD]}")); return ;;`);
  return `_isthmus() {
  local chain="" word words="" is_value=""
  case "\${COMP_WORDS[COMP_CWORD-1]}" in
${values.join('\n')}
    ${valued.join('|')}) COMPREPLY=(); return ;;
  esac
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do
    if [ -n "$is_value" ]; then is_value=""; continue; fi
    case "$word" in
      ${[...valued, ...choices.keys()].join('|')}) is_value=yes ;;
      -*) ;;
      *) chain="\${chain:+$chain }$word" ;;
    esac
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

/** The script for bash, by zsh's own way of running such. */
function zsh(tables: Tables): string {
  return `whence compdef >/dev/null || { autoload -U compinit && compinit }
autoload -U +X bashcompinit && bashcompinit
${bash(tables)}`;
}

/** The same in fish, which completes files by itself after an option that takes a value. */
function fish({ words, choices, valued }: Tables): string {
  const cases = [...words].map(([path, next]) => `      case '${path}'\n        set words ${next.join(' ')}`);
  const options = [
    ...[...choices].map(([name, next]) => `complete -c isthmus ${fishOption(name)} -xa '${next.join(' ')}'`),
    ...valued.map((name) => `complete -c isthmus ${fishOption(name)} -rF`),
  ];
  return `function __isthmus_words
  set -l chain
  set -l is_value
  for word in (commandline -opc)[2..-1]
    if test -n "$is_value"
      set is_value
      continue
    end
    switch $word
      case ${[...valued, ...choices.keys()].join(' ')}
        set is_value yes
      case '-*'
      case '*'
        set -a chain $word
    end
  end
  set -l words
  while true
    switch "$chain"
${cases.join('\n')}
    end
    if test (count $words) -gt 0 -o (count $chain) -eq 0
      break
    end
    set -e chain[-1]
  end
  string join \\n -- $words
end
function __isthmus_takes
  contains -- $argv[1] (__isthmus_words)
end
complete -c isthmus -f -a '(__isthmus_words)'
${options.join('\n')}
`;
}

const fishOption = (name: string): string => (name.startsWith('--') ? `-n '__isthmus_takes ${name}' -l ${name.slice(2)}` : `-s ${name.slice(1)}`);
