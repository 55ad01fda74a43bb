// Names of certificates, and the name spaces a CA is confined to: which names below it may be taken. Source: RFC 5280 §4.2.1.10.
import { context, type Der, DerFault, itemsOf, sequenceOf } from './der-reader.ts';

/** One name of a certificate: its form and its octets, as text where the form is text (URI, DNS, e-mail). */
export type GeneralName = { readonly form: NameForm; readonly text: string; readonly octets: Buffer };
export type NameForm = 'uri' | 'dns' | 'ip' | 'email' | 'directory' | 'other';

/** What a CA permits and excludes, each a name that stands for all below it. */
export type NameConstraints = { readonly permitted: readonly GeneralName[]; readonly excluded: readonly GeneralName[] };

/** Bounds the work of comparing names with constraints (CVE-2023-27493, reliability 46). */
const MAX_NAMES = 256;
const FORMS: Readonly<Record<number, NameForm>> = { [context(1)]: 'email', [context(2)]: 'dns', [context(4, true)]: 'directory', [context(6)]: 'uri', [context(7)]: 'ip' };
/** Printable and no space: a name with CR, LF or NUL ends up in no header and no log (CVE-2009-2408 and its kind). */
const PLAIN = /^[\x21-\x7e]*$/;

/** The names of a subject alternative name extension. **Throws** DerFault. */
export function generalNamesOf(value: Der): readonly GeneralName[] {
  const items = sequenceOf(value);
  if (items.length === 0) throw new DerFault('has an empty list of names');
  if (items.length > MAX_NAMES) throw new DerFault(`has more than ${MAX_NAMES} names`);
  return items.map((item) => {
    const name = nameOf(item);
    if (name.form !== 'ip' && name.text === '' && name.form !== 'directory' && name.form !== 'other') throw new DerFault('has an empty name');
    if (name.form === 'ip' && name.octets.byteLength !== 4 && name.octets.byteLength !== 16) throw new DerFault('has an address of a wrong length');
    return name;
  });
}

function nameOf(item: Der): GeneralName {
  const form = FORMS[item.tag] ?? 'other';
  if (form === 'other' && (item.tag & 0xc0) !== 0x80) throw new DerFault('has a name that is none');
  const isText = form === 'uri' || form === 'dns' || form === 'email';
  const text = isText ? item.value.toString('latin1') : '';
  if (!PLAIN.test(text)) throw new DerFault('has a name with control characters, spaces or letters beyond ASCII');
  return { form, text, octets: item.value };
}

/** Reads a name constraints extension. **Throws** DerFault for an empty one, and for bounds that are not the default. */
export function nameConstraintsOf(value: Der): NameConstraints {
  const lists: Record<'permitted' | 'excluded', GeneralName[]> = { permitted: [], excluded: [] };
  const items = sequenceOf(value);
  let before = -1;
  for (const item of items) {
    const number = item.tag - context(0, true);
    if ((number !== 0 && number !== 1) || number <= before) throw new DerFault('has name constraints of a wrong shape');
    before = number;
    const list = number === 0 ? lists.permitted : lists.excluded;
    for (const subtree of itemsOf(item)) {
      const [base, ...bounds] = sequenceOf(subtree);
      if (base === undefined || bounds.length > 0) throw new DerFault('has name constraints with bounds (RFC 5280 §4.2.1.10 has none)');
      list.push(baseOf(base));
    }
    if (list.length === 0) throw new DerFault('has an empty list of name constraints');
  }
  if (items.length === 0) throw new DerFault('has empty name constraints');
  if (lists.permitted.length + lists.excluded.length > MAX_NAMES) throw new DerFault(`has more than ${MAX_NAMES} name constraints`);
  return lists;
}

/** A URI constraint is a host, or a dot and a domain; one of an address, a URI, or with a port means nothing and is refused. */
function baseOf(item: Der): GeneralName {
  const base = nameOf(item);
  if (base.form === 'uri' && !/^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(base.text)) throw new DerFault('has a URI name constraint that is no host');
  if (base.form === 'ip' && base.octets.byteLength !== 8 && base.octets.byteLength !== 32) throw new DerFault('has an address constraint of a wrong length');
  return base;
}

/**
 * The first of `names` that the constraints do not let pass, or undefined: one that is excluded, or that is of a form
 * with permitted names and is under none of them. A form that is constrained and cannot be judged here (e-mail,
 * directory names, others, URIs without a host) lets no name of its kind pass, as RFC 5280 §4.2.1.10 demands.
 */
export function firstForbidden(constraints: NameConstraints, names: readonly GeneralName[]): GeneralName | undefined {
  return names.find((name) => {
    const permitted = constraints.permitted.filter((base) => base.form === name.form);
    const excluded = constraints.excluded.filter((base) => base.form === name.form);
    if (permitted.length + excluded.length === 0) return false;
    const isUnder = UNDER[name.form];
    if (isUnder === undefined || (name.form === 'uri' && hostOf(name.text) === '')) return true;
    return excluded.some((base) => isUnder(name, base)) || (permitted.length > 0 && !permitted.some((base) => isUnder(name, base)));
  });
}

type IsUnder = (name: GeneralName, base: GeneralName) => boolean;

/** How a name is under a constraint, by form. */
const UNDER: Readonly<Partial<Record<NameForm, IsUnder>>> = {
  /** The very host, or with a leading dot any host below, but not that domain itself. */
  uri: (name, base) => {
    const host = hostOf(name.text);
    const limit = base.text.toLowerCase();
    return limit.startsWith('.') ? host.endsWith(limit) && host.length > limit.length : host === limit;
  },
  /** The very name, or any below; an empty constraint is every name. */
  dns: (name, base) => {
    const host = name.text.toLowerCase();
    const limit = base.text.toLowerCase();
    return limit === '' || host === limit || host.endsWith(limit.startsWith('.') ? limit : `.${limit}`);
  },
  /** An address and its mask. */
  ip: (name, base) => {
    const size = base.octets.byteLength / 2;
    return name.octets.byteLength === size && name.octets.every((octet, at) => ((octet ^ (base.octets[at] ?? 0)) & (base.octets[at + size] ?? 0)) === 0);
  },
};

/** The host of a URI's authority, without user and port, in lower case (RFC 3986 §3.2); empty where there is none. */
function hostOf(uri: string): string {
  const authority = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/.exec(uri)?.[1] ?? '';
  return authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, '').toLowerCase();
}
