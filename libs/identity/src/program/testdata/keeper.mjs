// A key keeper for tests and to begin one's own with: keys in files of a folder, what is asked on standard input, the answer on standard output.
// keeper.mjs FOLDER; a file `away` in FOLDER makes it fail, `mute` makes it hang, `liar` makes it sign something else.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
const question = JSON.parse(readFileSync(0, 'utf8'));
if (existsSync(join(folder, 'away'))) {
  process.stderr.write('the keeper of the keys is away\n');
  process.exit(3);
}
if (existsSync(join(folder, 'mute'))) setInterval(() => undefined, 1_000);
else answer(question);

function answer({ version, do: what, name, kind, hash, data }) {
  if (version !== 1) throw new Error(`version ${version}`);
  const path = join(folder, encodeURIComponent(name));
  const publicKey = () => (existsSync(path) ? createPublicKey(readFileSync(path)).export({ type: 'spki', format: 'pem' }) : null);
  switch (what) {
    case 'make': {
      const { privateKey } = kind === 'ec-p256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: Number(kind.slice(4)) });
      writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
      return say({ publicKey: publicKey() });
    }
    case 'read':
      return say({ publicKey: publicKey() });
    case 'sign': {
      const bytes = existsSync(join(folder, 'liar')) ? Buffer.from('something else') : Buffer.from(data, 'base64');
      return say({ signature: sign(hash === 'none' ? null : hash, bytes, createPrivateKey(readFileSync(path))).toString('base64') });
    }
    case 'destroy':
      rmSync(path, { force: true });
      return say({});
    default:
      throw new Error(`what is ${what}?`);
  }
}

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
