// Fuzz target: text is refused with its place, or is what JSON.parse makes of it; never an exception, never a changed prototype.
import { parseStrictJson } from './json.ts';

export const target = {
  name: 'strict-json',
  seeds: ['{"kind":"service","namespace":"shop","name":"cart","ports":[{"name":"http","port":80,"protocol":"http"}]}', '[1,-0.5e3,true,null,"\\u00e9"]', '{"a":{"b":[{}]}}'].map((text) => Buffer.from(text)),
  dictionary: ['"__proto__":', '"constructor":', '{"a":', '[[[[', ']]]]', '1e999', '\\u0000', '\\ud800', 'null', ',', '"a":1,"a":2'],
  maxBytes: 4_096,
  run(input: Buffer): void {
    const text = input.toString('utf8');
    const parsed = parseStrictJson(text);
    if (!parsed.ok) {
      if (parsed.problems.length !== 1 || (parsed.problems[0]?.path.length ?? 0) > 200) throw new Error('not one problem with a short path');
    } else if (JSON.stringify(parsed.value) !== JSON.stringify(JSON.parse(text))) throw new Error('another value than JSON.parse makes');
    if (Object.keys(Object.prototype).length > 0) throw new Error('a prototype was changed');
  },
};
