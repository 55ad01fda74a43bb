// Fuzz target: a configuration file is values or problems with lines, in bounded time; never an exception.
import { parseYaml } from './yaml.ts';

export const target = {
  name: 'yaml',
  seeds: [
    'server: { address: "10.0.0.1:7100" }\nlisten:\n  host: 127.0.0.1\n  port: 15443\n# why\nreserved:\n  control-plane: 10.0.0.1:7100\n',
    'kind: service\nnamespace: shop\nname: payments\nports:\n  - { name: http, port: 80, protocol: http }\n---\nkind: export\nconsumers: all\n',
    'a: &x [1, 2]\nb: *x\nc: !!str 1\nd: |\n  text\n  more\ne: "\\u0041"\n',
  ].map((text) => Buffer.from(text)),
  dictionary: ['---\n', '...\n', '&a ', '*a', '<<: ', '!!', '? ', ': ', '- ', '|+\n', '>-\n', '%YAML 1.1\n', '\t', '{', '[', '"\\x', '\ufeff', '__proto__: ', '!!binary '],
  maxBytes: 2_048,
  run(input: Buffer): void {
    const parsed = parseYaml(input.toString('utf8'), 'fuzz.yaml');
    if (!parsed.ok && parsed.problems.length === 0) throw new Error('refused without a problem');
    if (parsed.ok) {
      for (const document of parsed.value) {
        const line = document.lineOf('a.b[0]');
        if (!(line >= 1)) throw new Error(`line ${line}`);
      }
    }
    if (Object.keys(Object.prototype).length > 0 || ({} as { a?: unknown }).a !== undefined) throw new Error('a prototype was changed');
  },
};
