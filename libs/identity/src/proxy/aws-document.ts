// The signed instance identity document of the machine this runs on, from the instance metadata service (IMDSv2).
import { Agent, request } from '@isthmus/runtime/http';

const TIMEOUT_MS = 3_000;
const MAX_BYTES = 64 * 1024;

/**
 * The PKCS#7 of the document with its RSA-2048 signature, in DER or BER. **Throws** plain errors of the HTTP client.
 * Source: Amazon EC2 User Guide, "Instance identity documents".
 */
export async function readInstanceDocument(url: string): Promise<Buffer> {
  const dispatcher = new Agent({ connect: { timeout: TIMEOUT_MS }, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  const get = async (path: string, options: { readonly method: 'GET' | 'PUT'; readonly headers: Record<string, string> }): Promise<string> => {
    const { statusCode, body } = await request(`${url}/latest/${path}`, { dispatcher, ...options });
    let text = '';
    for await (const part of body as AsyncIterable<Buffer>) {
      text += part.toString('latin1');
      if (text.length > MAX_BYTES) throw new Error(`${url} answered with more than ${MAX_BYTES} bytes`);
    }
    if (statusCode !== 200) throw new Error(`${url}/latest/${path} answered ${statusCode}`);
    return text;
  };
  try {
    const session = await get('api/token', { method: 'PUT', headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' } });
    const text = await get('dynamic/instance-identity/rsa2048', { method: 'GET', headers: { 'x-aws-ec2-metadata-token': session } });
    return Buffer.from(text.replaceAll(/-----(BEGIN|END) PKCS7-----/g, ''), 'base64');
  } finally {
    await dispatcher.destroy();
  }
}
