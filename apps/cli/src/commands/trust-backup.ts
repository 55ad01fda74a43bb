// `isthmus trust backup` and `restore`: the trust root in one encrypted file, on the host it runs on.
import { type BackupFacts, backupTrustRoot, readPassphrase, restoreTrustRoot } from '@isthmus/identity';
import { systemClock } from '@isthmus/runtime';
import type { CommandContext } from '../context.ts';
import { demoPaths } from '../demo/paths.ts';
import { fail } from '../errors.ts';
import { printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { instant } from './token.ts';

export async function backup(context: CommandContext, [path = '']: readonly string[], options: Options): Promise<void> {
  const stateDir = typeof options['stateDir'] === 'string' ? options['stateDir'] : demoPaths(context.stateDir).state('trust-root');
  const made = await backupTrustRoot({ stateDir, path, passphrase: await readPassphrase(String(options['passphraseFile'])), nowMs: systemClock.nowMs() });
  printOutcome(context, `${path} holds the trust root of ${made.federation}, ${made.members} members, up to record ${made.log.records} (${made.log.hash})${elsewhere(made)}`, { path, ...made });
}

export async function restore(context: CommandContext, [path = '']: readonly string[], options: Options): Promise<void> {
  const checkpoint = options['checkpoint'];
  if (checkpoint !== undefined && (typeof checkpoint !== 'string' || !/^[0-9a-f]{64}$/.test(checkpoint))) throw fail('CLI_BAD_INPUT', '--checkpoint: is no SHA-256 in hex');
  const stateDir = String(options['stateDir']);
  const passphrase = await readPassphrase(String(options['passphraseFile']));
  const made = await restoreTrustRoot({ stateDir, path, passphrase, checkpoint, acceptOlder: options['acceptOlder'] === true, nowMs: systemClock.nowMs() });
  const unsure = checkpoint === undefined ? '; whether it is the newest was not checked (--checkpoint)' : '';
  printOutcome(context, `${stateDir} holds the trust root of ${made.federation} as of ${instant(made.madeAtMs)}, ${made.members} members${unsure}${elsewhere(made)}`, { stateDir, ...made });
}

/** What the file lacks must be said when there is still time to keep it elsewhere. */
function elsewhere({ keysElsewhere }: BackupFacts): string {
  const places = { pkcs11: 'the token', program: 'the program' };
  return keysElsewhere.map(({ name, place }) => `; the key ${name} is in ${places[place]} and not in this file`).join('');
}
