// Every setting of the trust root: name, type, unit, default and what it is for.
import { remoteOperatorSchema } from '@isthmus/identity';
import { type Parsed, parseDuration, refused, type Static, strict, Type } from '@isthmus/model';
import { healthSchema, logSchema } from '@isthmus/runtime';

const keyPlaces = {
  pkcs11: Type.Optional(
    strict({
      module: Type.String({ minLength: 1, description: 'library of the token’s vendor, such as /usr/lib/softhsm/libsofthsm2.so' }),
      token: Type.String({ minLength: 1, maxLength: 32, description: 'label of the token' }),
      serial: Type.Optional(Type.String({ minLength: 1, maxLength: 16, description: 'its serial number, where two tokens have one label' })),
      pinFile: Type.String({ minLength: 1, description: 'file of mode 0600 with the user PIN; its last line feed does not count' }),
      timeoutSeconds: Type.Integer({ minimum: 1, maximum: 60, default: 8, description: 'how long one call to the token may take; a cluster waits ten seconds for its intermediate' }),
    }),
  ),
  program: Type.Optional(
    strict({
      command: Type.Array(Type.String({ minLength: 1, maxLength: 4_096 }), { minItems: 1, maxItems: 64, description: 'program that keeps the keys, such as one that asks a cloud’s KMS, and its arguments' }),
      timeoutSeconds: Type.Integer({ minimum: 1, maximum: 60, default: 8, description: 'how long one signature may take; a cluster waits ten seconds for its intermediate' }),
    }),
  ),
};

export const configSchema = strict({
  federation: Type.String({ pattern: '^[a-z0-9._-]{1,222}$', description: 'the federation’s trust domain, such as acme.example' }),
  stateDir: Type.String({ minLength: 1, description: 'directory for the root’s key and state, mode 0700' }),
  keyKind: Type.Union([Type.Literal('ec-p256'), Type.Literal('rsa-3072')], { default: 'ec-p256', description: 'kind of the root’s key; used on the first start only' }),
  keyPassphraseFile: Type.Optional(Type.String({ description: 'file of mode 0600 with the passphrase the root’s keys are under; its last line feed does not count' })),
  keys: Type.Optional(
    strict({
      label: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: 'what the names of the root’s keys begin with in a token or for a program (default: the federation)' })),
      ...keyPlaces,
      /** A token or program that held the root’s keys before: found there until a rotation has replaced them. */
      formerly: Type.Optional(strict(keyPlaces)),
    }),
  ),
  listen: strict(
    {
      host: Type.String({ default: '127.0.0.1', description: 'address for clusters' }),
      port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7_000, description: 'port for clusters' }),
    },
  ),
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for the operator (default: <stateDir>/admin.sock)' })),
  operators: Type.Array(remoteOperatorSchema, { default: [], maxItems: 512, description: 'clusters whose admin API may ask for changes here, for whom and which; nobody without an entry' }),
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
