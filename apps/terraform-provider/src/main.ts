// The Terraform provider: shakes hands with the Terraform that started it, serves it, and ends with it.
import { IsthmusError, messageOf } from '@isthmus/model';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openEngine } from './protocol/engine.ts';
import { handshakeLine, readHandshake } from './protocol/handshake.ts';
import { serveProvider } from './protocol/serve.ts';
import { makeProvider } from './provider.ts';

// Standard output belongs to the handshake; people and Terraform's log read standard error.
const say = (text: string): boolean => process.stderr.write(`${text}\n`);

try {
  const env = process.env;
  const handshake = readHandshake(env);
  // A person's Ctrl-C goes to the whole process group; Terraform passes it on as StopProvider and still wants its answers.
  process.on('SIGINT', () => undefined);
  const engine = openEngine(makeProvider({ env, clock: systemClock, random: systemRandom }), systemClock);
  const served = await serveProvider({ engine, handshake, clock: systemClock });
  const terminated = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
  process.stdout.write(handshakeLine(served.socketPath, served.serverCa));
  await Promise.race([served.ended, terminated]);
  await served.close();
  process.exit(0);
} catch (error) {
  say(`terraform-provider-isthmus: ${messageOf(error)}${error instanceof IsthmusError && error.hint !== undefined ? `; ${error.hint}` : ''}`);
  process.exit(1);
}
