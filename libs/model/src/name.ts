// Names: DNS labels, cluster names, service names. Parsed once at the edge, branded inside.
import { type Parsed, parsed, refused } from './problem.ts';

declare const brand: unique symbol;
type Branded<B extends string> = string & { readonly [brand]: B };

export type ClusterName = Branded<'ClusterName'>;
export type NamespaceName = Branded<'NamespaceName'>;

/** A service's place in the federation: the same two words name the same service in every cluster (MCS sameness). */
export type ServiceName = { readonly namespace: string; readonly name: string };

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** JSON Schema pattern of a DNS label (RFC 1123 §2.1, lower case only). */
export const DNS_LABEL_PATTERN = LABEL.source;

export function isDnsLabel(text: string): boolean {
  return LABEL.test(text);
}

/** Parses a DNS label (RFC 1123 §2.1): 1–63 lower-case letters, digits and dashes, no dash at either end. */
export function parseDnsLabel(text: string, path = ''): Parsed<string> {
  if (LABEL.test(text)) return parsed(text);
  return refused(path, `${quote(text)} is no DNS label (1-63 of a-z, 0-9 and -, no - at either end)`);
}

/** Cluster names are DNS labels of at most 32 characters, so that SNI names stay under 255. */
export function parseClusterName(text: string, path = ''): Parsed<ClusterName> {
  const label = parseDnsLabel(text, path);
  if (!label.ok) return label;
  if (text.length > 32) return refused(path, `cluster name ${quote(text)} is longer than 32 characters`);
  return parsed(text as ClusterName);
}

/** Parses `namespace/name`. */
export function parseServiceName(text: string, path = ''): Parsed<ServiceName> {
  const [namespace, name, ...rest] = text.split('/');
  if (namespace === undefined || name === undefined || rest.length > 0) {
    return refused(path, `${quote(text)} is no service name (want namespace/name)`);
  }
  const problems = [parseDnsLabel(namespace, path), parseDnsLabel(name, path)].flatMap((r) => (r.ok ? [] : r.problems));
  return problems.length > 0 ? { ok: false, problems } : parsed({ namespace, name });
}

/** `namespace/name`: the one text form of a service's name, used as map key, in logs and in metrics. */
export function formatServiceName(service: ServiceName): string {
  return `${service.namespace}/${service.name}`;
}

/** The name applications look up: `name.namespace.svc.clusterset.local` (Kubernetes MCS, KEP-1645). */
export function serviceDnsName(service: ServiceName): string {
  return `${service.name}.${service.namespace}.svc.clusterset.local`;
}

/** Untrusted text made fit to print: quoted, control characters escaped, at most 80 characters. */
export function quote(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  return JSON.stringify(cut);
}
