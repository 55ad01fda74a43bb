// TypeScript text reduced to what rules look at: code without comments, and with or without what strings say.

/** `code` keeps plain strings (import specifiers are such), `bare` keeps none; both keep every line where it was. */
export type SourceText = { readonly code: string; readonly bare: string };

/** What may stand before a `/` that begins a regular expression and not a division. */
const BEFORE_REGEX = /(?:^|[=(,:[!&|?{};+\-*%<>~^]|=>|\b(?:return|typeof|case|in|of|do|else|void|yield|await|delete|instanceof))\s*$/;

/** Reduces a source. One pass; a lexer's worth of TypeScript, enough for code that the compiler accepts. */
export function readSource(text: string): SourceText {
  let code = '';
  let bare = '';
  const keep = (part: string): void => {
    code += part;
    bare += part;
  };
  const blank = (part: string): string => part.replaceAll(/[^\n]/g, ' ');
  /** Depth of braces in each template placeholder that is open. */
  const placeholders: number[] = [];
  let at = 0;
  while (at < text.length) {
    const rest = text.slice(at, at + 2);
    const char = text[at] ?? '';
    let end: number;
    if (rest === '//' || rest === '/*') {
      end = rest === '//' ? endOf(text, at, '\n') : endOf(text, at, '*/') + 2;
      keep(blank(text.slice(at, end)));
    } else if (char === "'" || char === '"') {
      end = endOfString(text, at + 1, char) + 1;
      code += text.slice(at, end);
      bare += char + blank(text.slice(at + 1, end - 1)) + char;
    } else if (char === '`' || (char === '}' && placeholders.at(-1) === 0)) {
      if (char === '}') placeholders.pop();
      end = endOfTemplate(text, at + 1);
      if (text[end] === '$') {
        placeholders.push(0);
        end += 2;
      } else end += 1;
      keep(blank(text.slice(at, end)));
    } else if (char === '/' && BEFORE_REGEX.test(bare.slice(-30))) {
      end = endOfRegex(text, at + 1);
      keep(blank(text.slice(at, end)));
    } else {
      if (placeholders.length > 0 && char === '{') placeholders.push((placeholders.pop() ?? 0) + 1);
      if (placeholders.length > 0 && char === '}') placeholders.push((placeholders.pop() ?? 0) - 1);
      end = at + 1;
      keep(char);
    }
    at = end;
  }
  return { code, bare };
}

function endOf(text: string, from: number, mark: string): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}

function endOfString(text: string, from: number, quote: string): number {
  let at = from;
  while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
  return at;
}

/** Where a template's text ends: at its closing backtick, or at the `$` of a placeholder. */
function endOfTemplate(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== '`' && !(text[at] === '$' && text[at + 1] === '{')) at += text[at] === '\\' ? 2 : 1;
  return at;
}

function endOfRegex(text: string, from: number): number {
  let at = from;
  let isInClass = false;
  while (at < text.length && text[at] !== '\n' && (isInClass || text[at] !== '/')) {
    if (text[at] === '[') isInClass = true;
    if (text[at] === ']') isInClass = false;
    at += text[at] === '\\' ? 2 : 1;
  }
  return at + 1;
}

/** An import or re-export of a source: what it names, on which line, and whether types alone come by it. */
export type ImportLine = { readonly specifier: string; readonly line: number; readonly isTypeOnly: boolean };

const IMPORT = /(?:^|[;\n}])\s*(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s*)?['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]\s*\)/g;

/** Every import of a source, static and dynamic. */
export function importsOf({ code }: SourceText): readonly ImportLine[] {
  return [...code.matchAll(IMPORT)].map((match) => ({
    specifier: match[2] ?? match[3] ?? '',
    line: code.slice(0, match.index + match[0].length).split('\n').length,
    isTypeOnly: match[1] !== undefined,
  }));
}
