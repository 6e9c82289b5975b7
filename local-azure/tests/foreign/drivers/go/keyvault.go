package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

var (
	secrets *azsecrets.Client
	keys    *azkeys.Client
)

type givenToken string

func (t givenToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(10 * time.Minute)}, nil
}

// dial knows that names under localhost are this machine's (RFC 6761), as not every resolver does.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil && strings.HasSuffix(host, ".localhost") {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func connectVault(given request) (any, error) {
	roots := x509.NewCertPool()
	text, err := os.ReadFile(given.text("ca"))
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}}
	options := policy.ClientOptions{
		Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{MaxRetries: -1},
	}
	token := givenToken(given.text("token"))
	if secrets, err = azsecrets.NewClient(given.text("url"), token, &azsecrets.ClientOptions{ClientOptions: options}); err != nil {
		return nil, err
	}
	keys, err = azkeys.NewClient(given.text("url"), token, &azkeys.ClientOptions{ClientOptions: options})
	return nil, err
}

func bytesOf(given request, key string) []byte {
	found, _ := base64.StdEncoding.DecodeString(given.text(key))
	return found
}

func textOf(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// keyOf is the name and version in a key's id.
func keyOf(given request) (string, string) {
	id := azkeys.ID(given.text("key"))
	return id.Name(), id.Version()
}

func tagsOf(given request) map[string]*string {
	found := map[string]*string{}
	for name, value := range given.object("tags") {
		text := value.(string)
		found[name] = &text
	}
	return found
}

var keyVault = map[string]operation{
	"kv_connect": connectVault,
	"kv_set": func(given request) (any, error) {
		value := given.text("value")
		made, err := secrets.SetSecret(background, given.text("name"), azsecrets.SetSecretParameters{Value: &value, Tags: tagsOf(given)}, nil)
		if err != nil {
			return nil, err
		}
		return made.ID.Version(), nil
	},
	"kv_get": func(given request) (any, error) {
		found, err := secrets.GetSecret(background, given.text("name"), given.text("version"), nil)
		return map[string]any{"value": found.Value, "tags": found.Tags}, err
	},
	"kv_versions": func(given request) (any, error) {
		return all(background, secrets.NewListSecretPropertiesVersionsPager(given.text("name"), nil), func(page azsecrets.ListSecretPropertiesVersionsResponse) (names []string) {
			for _, each := range page.Value {
				names = append(names, each.ID.Version())
			}
			return names
		})
	},
	"kv_backup": func(given request) (any, error) {
		if given.text("kind") == "secret" {
			found, err := secrets.BackupSecret(background, given.text("name"), nil)
			return textOf(found.Value), err
		}
		found, err := keys.BackupKey(background, given.text("name"), nil)
		return textOf(found.Value), err
	},
	"kv_purge": func(given request) (any, error) {
		name := given.text("name")
		if given.text("kind") == "secret" {
			if _, err := secrets.DeleteSecret(background, name, nil); err != nil {
				return nil, err
			}
			_, err := secrets.PurgeDeletedSecret(background, name, nil)
			return nil, err
		}
		if _, err := keys.DeleteKey(background, name, nil); err != nil {
			return nil, err
		}
		_, err := keys.PurgeDeletedKey(background, name, nil)
		return nil, err
	},
	"kv_restore": func(given request) (any, error) {
		backup := bytesOf(given, "backup")
		var err error
		if given.text("kind") == "secret" {
			_, err = secrets.RestoreSecret(background, azsecrets.RestoreSecretParameters{SecretBackup: backup}, nil)
		} else {
			_, err = keys.RestoreKey(background, azkeys.RestoreKeyParameters{KeyBackup: backup}, nil)
		}
		return nil, err
	},
	"kv_create_key": func(given request) (any, error) {
		kind, size := azkeys.KeyTypeRSA, int32(2048)
		made, err := keys.CreateKey(background, given.text("name"), azkeys.CreateKeyParameters{Kty: &kind, KeySize: &size}, nil)
		if err != nil {
			return nil, err
		}
		return made.Key.KID, nil
	},
	"kv_rotate_key": func(given request) (any, error) {
		made, err := keys.RotateKey(background, given.text("name"), nil)
		if err != nil {
			return nil, err
		}
		return made.Key.KID, nil
	},
	"kv_sign": func(given request) (any, error) {
		name, version := keyOf(given)
		algorithm := azkeys.SignatureAlgorithm(given.text("algorithm"))
		found, err := keys.Sign(background, name, version, azkeys.SignParameters{Algorithm: &algorithm, Value: bytesOf(given, "digest")}, nil)
		return textOf(found.Result), err
	},
	"kv_verify": func(given request) (any, error) {
		name, version := keyOf(given)
		algorithm := azkeys.SignatureAlgorithm(given.text("algorithm"))
		found, err := keys.Verify(background, name, version, azkeys.VerifyParameters{
			Algorithm: &algorithm, Digest: bytesOf(given, "digest"), Signature: bytesOf(given, "signature"),
		}, nil)
		return found.Value, err
	},
	"kv_wrap": func(given request) (any, error) {
		name, version := keyOf(given)
		algorithm := azkeys.EncryptionAlgorithm(given.text("algorithm"))
		found, err := keys.WrapKey(background, name, version, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: bytesOf(given, "value")}, nil)
		return textOf(found.Result), err
	},
	"kv_unwrap": func(given request) (any, error) {
		name, version := keyOf(given)
		algorithm := azkeys.EncryptionAlgorithm(given.text("algorithm"))
		found, err := keys.UnwrapKey(background, name, version, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: bytesOf(given, "value")}, nil)
		return textOf(found.Result), err
	},
}
