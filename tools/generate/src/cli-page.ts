// `docs/reference/cli.md`: every command of `isthmus` with its arguments and options, from the command tree itself.

const MADE = '<!-- Made by `npm run generate`; do not edit. -->';

/** What the page needs of a command; commander's own commands have it. */
export type CommandShape = {
  name(): string;
  description(): string;
  readonly commands: readonly CommandShape[];
  readonly options: readonly { readonly flags: string; readonly description: string; readonly defaultValue?: unknown; readonly argChoices?: readonly string[]; readonly mandatory: boolean; readonly envVar?: string }[];
  readonly registeredArguments: readonly { name(): string; readonly required: boolean }[];
};

/** Exit codes and their classes, as the errors page has them. */
export type ExitCodes = Readonly<Record<string, { readonly exit: number }>>;

/** The page: global options, a section a command, exit codes. */
export function cliPage(program: CommandShape, classes: ExitCodes): string {
  const byExit = Map.groupBy(Object.entries(classes), ([, { exit }]) => exit);
  return `${[
    '# Command line',
    MADE,
    '',
    'Options below hold for every command. `-o json` and `-o yaml` print documents for programs; with `-o json` an error is one JSON object on standard error.',
    '',
    ...optionTable(program),
    ...[...leaves(program, [])].flatMap(([path, command]) => section(path, command)),
    '',
    '## Exit codes',
    '',
    '| code | meaning |',
    '|---|---|',
    '| 0 | done |',
    '| 1 | `diff`: something differs |',
    '| 64 | the command line is wrong |',
    ...[...byExit].toSorted(([a], [b]) => a - b).map(([exit, all]) => `| ${exit} | errors of class ${all.map(([name]) => `\`${name}\``).join(', ')} ([codes](errors.md)) |`),
  ].join('\n')}\n`;
}

function* leaves(command: CommandShape, path: readonly string[]): Generator<readonly [readonly string[], CommandShape]> {
  for (const child of command.commands) {
    const own = [...path, child.name()];
    if (child.commands.length === 0) yield [own, child];
    else yield* leaves(child, own);
  }
}

function section(path: readonly string[], command: CommandShape): readonly string[] {
  const given = command.registeredArguments.map((a) => (a.required ? `<${a.name()}>` : `[${a.name()}]`));
  return ['', `## isthmus ${[...path, ...given].join(' ')}`, '', sentence(command.description()), ...(command.options.length > 0 ? ['', ...optionTable(command)] : [])];
}

function optionTable({ options }: CommandShape): readonly string[] {
  return [
    '| option | default | meaning |',
    '|---|---|---|',
    ...options.map((o) => {
      const standing = o.defaultValue === undefined || (Array.isArray(o.defaultValue) && o.defaultValue.length === 0) ? (o.mandatory ? 'required' : '') : `\`${String(o.defaultValue)}\``;
      const choices = o.argChoices === undefined ? '' : ` (${o.argChoices.map((c) => `\`${c}\``).join(', ')})`;
      return `| \`${cell(o.flags)}\` | ${standing} | ${cell(o.description)}${choices}${o.envVar === undefined ? '' : `; variable \`${o.envVar}\``} |`;
    }),
  ];
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
