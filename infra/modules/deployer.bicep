metadata description = 'What the one who deploys may do with data: set the first secrets, and nothing else.'

@description('Object id of the user or service principal in Entra ID.')
param principalId string

@description('User or ServicePrincipal.')
@allowed([
  'User'
  'ServicePrincipal'
])
param principalType string

@description('Key vault.')
param vaultName string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource onVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, 'Key Vault Secrets Officer')
  scope: vault
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
    description: 'Sets the first secrets after provisioning, where there are none yet.'
  }
}
