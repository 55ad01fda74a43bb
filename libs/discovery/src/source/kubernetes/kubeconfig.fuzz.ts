// Fuzz target: a kubeconfig is access to one server over TLS, or refused with reasons; never an exception.
import { parseKubeconfig } from './kubeconfig.ts';

const seed = `apiVersion: v1
kind: Config
current-context: east
contexts: [{ name: east, context: { cluster: east, user: isthmus } }]
clusters:
  - name: east
    cluster: { server: "https://10.0.0.1:6443", certificate-authority-data: LS0tLS1CRUdJTg==, tls-server-name: kubernetes }
users:
  - name: isthmus
    user: { token: abc }
`;

export const target = {
  name: 'kubeconfig',
  seeds: [seed, seed.replace('token: abc', 'client-certificate: a.pem, client-key: b.pem'), seed.replace('token: abc', 'exec: { command: aws }')].map((text) => Buffer.from(text)),
  dictionary: ['http://', 'https://', 'insecure-skip-tls-verify: true', 'exec:', 'auth-provider:', '---\n', '&a ', '*a', '<<: ', '__proto__: ', 'tokenFile: ', '\t', 'null'],
  maxBytes: 4_096,
  run(input: Buffer): void {
    const parsed = parseKubeconfig(input.toString('utf8'));
    if (!parsed.ok) {
      if (parsed.problems.length === 0) throw new Error('refused without a reason');
      return;
    }
    const url = new URL(parsed.value.server);
    const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (url.protocol !== 'https:' && !isLocal) throw new Error(`${url.protocol} to ${url.hostname} was taken`);
    if (Object.keys(Object.prototype).length > 0) throw new Error('a prototype was changed');
  },
};
