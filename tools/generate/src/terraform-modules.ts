// README of a Terraform module out of its own text: what it is for, its variables and its outputs, so that the page cannot say otherwise.

/** The files of a module that the page is made from. */
export type ModuleText = { readonly name: string; readonly main: string; readonly variables: string; readonly outputs: string };

type Block = { readonly name: string; readonly attributes: ReadonlyMap<string, string> };

/** The page. **Throws** where a variable or output has no description, or a variable no type. */
export function modulePage({ name, main, variables, outputs }: ModuleText): string {
  const purpose = /^# (.+)$/m.exec(main)?.[1];
  if (purpose === undefined) throw new Error(`infra/terraform/modules/${name}/main.tf does not begin with what it is for`);
  const inputs = blocksOf('variable', variables).map((block) => {
    const given = block.attributes.get('default');
    const isSensitive = block.attributes.get('sensitive') === 'true';
    return [`\`${block.name}\``, code(needed(block, 'type')), given === undefined ? 'required' : code(given), `${text(needed(block, 'description'))}${isSensitive ? ' Sensitive.' : ''}`];
  });
  const answers = blocksOf('output', outputs).map((block) => [`\`${block.name}\``, `${text(needed(block, 'description'))}${block.attributes.get('sensitive') === 'true' ? ' Sensitive.' : ''}`]);
  return [
    `# ${name}`,
    '<!-- Made by `npm run generate` from the module; do not edit. -->',
    '',
    purpose,
    '',
    '## Variables',
    ...table(['variable', 'type', 'default', 'meaning'], inputs),
    '',
    '## Outputs',
    ...table(['output', 'meaning'], answers),
    '',
  ].join('\n');
}

/** Blocks of one kind, as `terraform fmt` writes them: attributes two columns in, a block’s end in the first. */
function blocksOf(kind: string, source: string): readonly Block[] {
  return [...source.matchAll(new RegExp(`^${kind} "(\\w+)" \\{\\n([^]*?)^\\}$`, 'gm'))].map(([, name = '', body = '']) => ({ name, attributes: attributesOf(body) }));
}

function attributesOf(body: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  const lines = body.split('\n');
  for (let i = 0; i < lines.length; i += 1) {
    const match = /^ {2}(\w+) += (.+)$/.exec(lines[i] ?? '');
    if (match === null) continue;
    const [, key = '', first = ''] = match;
    let value = first;
    // A value that is not closed on its line goes on to the line that closes it, which stands two columns in.
    if (/[([{]$/.test(first)) {
      do value += `\n${(lines[(i += 1)] ?? '').trim()}`;
      while (!/^ {2}[)\]}]/.test(lines[i] ?? '') && i < lines.length);
    }
    attributes.set(key, value);
  }
  return attributes;
}

function needed(block: Block, attribute: string): string {
  const value = block.attributes.get(attribute);
  if (value === undefined) throw new Error(`${block.name} has no ${attribute}`);
  return value;
}

const text = (literal: string): string => (JSON.parse(literal) as string).replaceAll('|', '\\|');
const code = (value: string): string => {
  const line = value.replace(/([([{])\n/g, '$1 ').replace(/\n([)\]}])/g, ' $1').replaceAll('\n', ', ').replace(/ +/g, ' ');
  return `\`${line.replaceAll('|', '\\|')}\``;
};
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
