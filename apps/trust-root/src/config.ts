// Every setting of the trust root: name, type, unit, default and what it is for.
import { remoteOperatorSchema } from '@isthmus/identity';
import { type Parsed, parseDuration, refused, type Static, strict, Type } from '@isthmus/model';

export const configSchema = strict({
  federation: Type.String({ pattern: '^[a-z0-9._-]{1,222}$', description: 'the federation’s trust domain, such as acme.example' }),
  stateDir: Type.String({ minLength: 1, description: 'directory for the root’s key and state, mode 0700' }),
  keyKind: Type.Union([Type.Literal('ec-p256'), Type.Literal('rsa-3072')], { default: 'ec-p256', description: 'kind of the root’s key; used on the first start only' }),
  keyPassphraseFile: Type.Optional(Type.String({ description: 'file of mode 0600 with the passphrase the root’s keys are under; its last line feed does not count' })),
  listen: strict(
    {
      host: Type.String({ default: '127.0.0.1', description: 'address for clusters' }),
      port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7_000, description: 'port for clusters' }),
    },
  ),
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for the operator (default: <stateDir>/admin.sock)' })),
  operators: Type.Array(remoteOperatorSchema, { default: [], maxItems: 512, description: 'clusters whose admin API may ask for changes here, for whom and which; nobody without an entry' }),
  intermediateTtl: Type.String({ default: '24h', description: 'life of a cluster’s intermediate, 10s to 90d; renewed at half of it' }),
  health: Type.Optional(
    strict({
      host: Type.String({ default: '127.0.0.1', description: 'address of /healthz, /readyz and /metrics' }),
      port: Type.Integer({ minimum: 0, maximum: 65_535, description: 'port of the same' }),
    }),
  ),
  log: Type.Optional(
    strict({
      level: Type.Union([Type.Literal('error'), Type.Literal('warn'), Type.Literal('info'), Type.Literal('debug')], { default: 'info' }),
      format: Type.Union([Type.Literal('json'), Type.Literal('text')], { default: 'json' }),
    }),
  ),
});
export type Config = Static<typeof configSchema>;


/** The life of an intermediate in milliseconds, or why it cannot be that. */
export function intermediateTtlOf(config: Config): Parsed<number> {
  const ttl = parseDuration(config.intermediateTtl, 'intermediateTtl');
  if (!ttl.ok || (ttl.value >= 10_000 && ttl.value <= 90 * 86_400_000)) return ttl;
  return refused('intermediateTtl', `${config.intermediateTtl} is not between 10s and 90d`);
}
