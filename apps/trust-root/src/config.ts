// Every setting of the trust root: name, type, unit, default and what it is for.
import { type Parsed, parseDuration, refused, type Static, strict, Type } from '@isthmus/model';
import { healthSchema, logSchema } from '@isthmus/runtime';

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
  intermediateTtl: Type.String({ default: '24h', description: 'life of a cluster’s intermediate, 10s to 90d; renewed at half of it' }),
  health: healthSchema,
  log: logSchema,
});
export type Config = Static<typeof configSchema>;


/** The life of an intermediate in milliseconds, or why it cannot be that. */
export function intermediateTtlOf(config: Config): Parsed<number> {
  const ttl = parseDuration(config.intermediateTtl, 'intermediateTtl');
  if (!ttl.ok || (ttl.value >= 10_000 && ttl.value <= 90 * 86_400_000)) return ttl;
  return refused('intermediateTtl', `${config.intermediateTtl} is not between 10s and 90d`);
}
