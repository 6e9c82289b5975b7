metadata description = 'The vault: roles instead of policies, nothing can be purged, and a key that wraps the keys of data.'

@description('Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Premium keeps keys in hardware.')
@allowed([
  'standard'
  'premium'
])
param sku string

@description('Name of the key that wraps data keys.')
param wrappingKeyName string

@description('How long a deleted vault, secret or key can be brought back, in days.')
@minValue(7)
@maxValue(90)
param softDeleteDays int

@description('Reached over private endpoints only.')
param isolated bool

@description('Deleting the vault needs the lock to be taken off first.')
param locked bool

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  // checkov:skip=CKV_AZURE_109: denied when `isolated` says so, which a test asserts for each environment
  // checkov:skip=CKV_AZURE_189: private when `isolated` says so, which a test asserts for each environment
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: sku
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: softDeleteDays
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isolated ? 'Deny' : 'Allow'
    }
  }
}

// A key that exists already is left as it is. A new version is made every year; what older ones wrapped they still open.
resource wrappingKey 'Microsoft.KeyVault/vaults/keys@2024-11-01' = {
  // checkov:skip=CKV_AZURE_112: in hardware on Premium, which production has
  // checkov:skip=CKV_AZURE_40: rotated every year instead; an expired key would open nothing that it has wrapped
  parent: vault
  name: wrappingKeyName
  tags: tags
  properties: {
    kty: sku == 'premium' ? 'RSA-HSM' : 'RSA'
    keySize: 3072
    keyOps: [
      'wrapKey'
      'unwrapKey'
    ]
    attributes: {
      enabled: true
    }
    rotationPolicy: {
      lifetimeActions: [
        {
          action: {
            type: 'rotate'
          }
          trigger: {
            timeAfterCreate: 'P1Y'
          }
        }
      ]
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep'
  scope: vault
  properties: {
    level: 'CanNotDelete'
    notes: 'Without its keys, encrypted data can not be read again.'
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
output wrappingKeyName string = wrappingKey.name
