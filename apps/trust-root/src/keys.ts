// Where the root's keys are, as the configuration says: in files, in a PKCS#11 token, or behind a program.
import { fileKeyStore, type KeyStore, movingKeyStore, pkcs11KeyStore, programKeyStore, readPassphrase } from '@isthmus/identity';
import { refused, valueOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import type { Config } from './config.ts';

type Place = Pick<NonNullable<Config['keys']>, 'pkcs11' | 'program'>;

/**
 * Keys are made in the token or by the program where one is configured, else in files; what is in files still, or where
 * `keys.formerly` says, is found until a rotation has replaced it. **Throws** MODEL_INVALID where both are named; STATE_*.
 */
export async function openKeys(config: Config, parts: { readonly clock: Clock; readonly log: Log }): Promise<KeyStore> {
  const { stateDir, keys, keyPassphraseFile } = config;
  const passphrase = keyPassphraseFile === undefined ? undefined : await readPassphrase(keyPassphraseFile);
  const files = fileKeyStore(stateDir, { passphrase, log: parts.log });
  const label = keys?.label ?? config.federation;
  const [now, before] = [placeOf(keys, 'keys', label, parts.clock), placeOf(keys?.formerly, 'keys.formerly', label, parts.clock)];
  const places = [now, files, before].filter((place) => place !== undefined);
  return places.reduceRight((former, current) => movingKeyStore(current, former));
}

function placeOf(place: Place | undefined, path: string, label: string, clock: Clock): KeyStore | undefined {
  const { pkcs11, program } = place ?? {};
  if (pkcs11 !== undefined && program !== undefined) return valueOf(refused<KeyStore>(path, 'names both a token and a program'));
  if (pkcs11 !== undefined) {
    const { module, token, serial, pinFile, timeoutSeconds } = pkcs11;
    return pkcs11KeyStore({ module, token, serial, pin: () => readPassphrase(pinFile), label, timeoutMs: timeoutSeconds * 1_000, clock });
  }
  return program && programKeyStore({ command: program.command, label, timeoutMs: program.timeoutSeconds * 1_000, clock });
}
