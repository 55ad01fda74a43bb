// The reference page of the provider, made from the same declarations that Terraform is told.
import { systemClock, systemRandom } from '@isthmus/runtime';
import type { Attribute, Attributes, AttributeType } from './protocol/attribute.ts';
import type { Block } from './protocol/definition.ts';
import { TIMEOUTS } from './protocol/timeouts.ts';
import { makeProvider, SOURCE_ADDRESS } from './provider.ts';

/** `docs/reference/terraform.md`: the provider block, every resource and data source with its attributes and an example. */
export function referencePage(made: string): string {
  const provider = makeProvider({ env: {}, clock: systemClock, random: systemRandom });
  const lines = [
    '# Terraform',
    made,
    '',
    `${provider.description} Its address is \`${SOURCE_ADDRESS}\`; how it is laid out for Terraform says [operating/terraform](../operating/terraform.md).`,
    ...section('## The provider block', { ...provider, description: 'Every attribute may be given by an environment variable in its place; what stands in the block goes before.' }),
  ];
  for (const resource of provider.resources) {
    lines.push(...section(`## \`${resource.typeName}\``, resource));
    lines.push('', `Import by \`${resource.importId}\`: \`terraform import ${resource.typeName}.NAME ${resource.importId}\`${resource.importId.startsWith('cluster/') ? '; the cluster may be left out where the provider block names one' : ''}.`);
  }
  lines.push('', '## `timeouts` of every resource', '', `${TIMEOUTS.description} A call that cannot reach the admin API, or is told to come later, is made again until then, with waits that grow and vary; a write brings an idempotency key, so it acts once.`, '', '| attribute | type | given | meaning |', '|---|---|---|---|', ...rows({ timeouts: TIMEOUTS }, ''));
  for (const data of provider.dataSources) lines.push(...section(`## Data source \`${data.typeName}\``, data));
  return `${lines.join('\n')}\n`;
}

function section(title: string, block: Block): string[] {
  return ['', title, '', block.description, '', '```hcl', block.example, '```', '', '| attribute | type | given | meaning |', '|---|---|---|---|', ...rows(block.attributes, '')];
}

function rows(attributes: Attributes, prefix: string): string[] {
  return Object.entries(attributes).flatMap(([name, attribute]) => {
    const nested = nestedOf(attribute.type);
    const row = `| \`${prefix}${name}\` | ${typeName(attribute.type)} | ${given(attribute)} | ${attribute.description.replaceAll('|', '\\|')} |`;
    return [row, ...(nested === undefined ? [] : rows(nested, `${prefix}${name}.`))];
  });
}

function nestedOf(type: AttributeType): Attributes | undefined {
  if (type.kind === 'object') return type.attributes;
  return 'element' in type ? nestedOf(type.element) : undefined;
}

function typeName(type: AttributeType): string {
  return 'element' in type ? `${type.kind} of ${typeName(type.element)}` : type.kind;
}

function given({ mode, isSensitive, replaces }: Attribute): string {
  const words = { required: 'required', optional: 'optional', computed: 'computed', 'optional-computed': 'optional' }[mode];
  return [words, ...(replaces === true ? ['a change makes a new one'] : []), ...(isSensitive === true ? ['sensitive'] : [])].join(', ');
}
